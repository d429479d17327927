// A LoRA (Hu et al. 2021) as its file has it: for each layer two thin factors whose product is
// added to the layer's weight. Checked on its own; engine/lora_merge.h fits it to a model.
#pragma once

#include <map>
#include <string>

#include "base/file.h"
#include "base/status.h"
#include "engine/safetensors.h"

namespace tiltshift::engine {

// delta = scale * up @ down, with W's first dimension as rows and all others as columns:
//   down [rank, in, (kernel, kernel)], up [out, rank, (1, 1)].
// With mid [rank, rank, kernel, kernel] (LyCORIS' decomposition of convolutions) down is [rank, in,
// (1, 1)] and
//   delta[o, i, y, x] = scale * sum over a, b of up[o, a] mid[a, b, y, x] down[b, i].
struct LoraLayer {
  TensorView down, up;
  TensorView mid;   // no shape: there is none
  float scale = 1;  // alpha / rank; alpha is the rank where the file names none

  int64_t rank() const { return down.shape[0]; }
};

// The layers of a whole file's bytes, by their names as engine/lora_keys.h gives them; the views
// point into `bytes`. LoraFile::Open's errors, some without the file's name.
absl::StatusOr<std::map<std::string, LoraLayer>> ReadLoraLayers(std::string_view bytes,
                                                                const std::string& file);

class LoraFile {
 public:
  // NotFound: no such file. DataLoss: a damaged one, factors that do not fit each other, NaN.
  // Unimplemented: what is none of this engine's kinds (LoHa, LoKr, DoRA). InvalidArgument: a file
  // of something else. Messages name the file and the tensor.
  static absl::StatusOr<LoraFile> Open(const std::string& path);

  // By the layer's name as engine/lora_keys.h gives it; the views live as long as this object.
  const std::map<std::string, LoraLayer>& layers() const { return layers_; }
  std::string_view bytes() const { return file_.bytes(); }

 private:
  LoraFile(MappedFile file, std::map<std::string, LoraLayer> layers)
      : file_(std::move(file)), layers_(std::move(layers)) {}

  MappedFile file_;
  std::map<std::string, LoraLayer> layers_;
};

}  // namespace tiltshift::engine
