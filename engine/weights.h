// The weights of one component of a model directory, found by name and checked by shape.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/status.h"
#include "engine/checkpoint_names.h"
#include "engine/safetensors.h"

namespace tiltshift::engine {

// One file, or shards listed by `<stem>.safetensors.index.json`. Mapped: views live as long as the
// object.
class Weights {
 public:
  // Looks in `folder` for `<stem>.safetensors`, else for the index, else for either of the variant
  // fp16 or bf16. diffusers' stem is "diffusion_pytorch_model", transformers' "model". NotFound if
  // none is there: the message lists what was looked for, and says so when only .bin files are.
  static absl::StatusOr<Weights> Open(const std::string& folder, const std::string& stem);

  // Some tensors of one file, by other names and in other forms (checkpoint_names.h); those without a name are left
  // out. DataLoss: a tensor that cannot take its form.
  using Rename = std::function<std::optional<CheckpointName>(std::string_view name)>;
  static absl::StatusOr<Weights> OpenRenamed(const std::string& path, const Rename& rename);

  // The tensor, which must have that shape. NotFound names the folder and the tensor; DataLoss
  // gives both shapes. The view lives as long as this object.
  absl::StatusOr<TensorView> Get(std::string_view name, std::span<const int64_t> shape) const;
  absl::StatusOr<TensorView> Get(std::string_view name,
                                 std::initializer_list<int64_t> shape) const {
    return Get(name, std::span<const int64_t>(shape.begin(), shape.size()));
  }

  // Null if there is none: for tensors a configuration makes optional.
  const TensorView* Find(std::string_view name) const;

  // Puts `values`, of which this object then owns a copy, in the place of a tensor's: of the same shape, as F32, or as
  // BF16, to nearest.
  void Replace(std::string_view name, std::span<const float> values, Dtype dtype);

  const TensorMap& tensors() const { return tensors_; }
  // Of a model these are: "unet".
  void SetPart(std::string part) { part_ = std::move(part); }
  const std::string& part() const { return part_; }
  // The folder or the file they are from: what errors begin with.
  const std::string& where() const { return where_; }
  // The mapped files, in the index's order: what a model's hash is taken over.
  using Files = std::vector<std::shared_ptr<const MappedFile>>;  // shared with who reads them meanwhile
  const Files& files() const { return files_; }

 private:
  static absl::StatusOr<Weights> OpenOne(const std::string& folder, const std::string& path);
  static absl::StatusOr<Weights> OpenShards(const std::string& folder, const std::string& index);
  absl::Status AddRenamed(const TensorView& view, const CheckpointName& name);

  std::string where_, part_;
  Files files_;
  TensorMap tensors_;
  std::deque<std::string> replaced_;
  std::deque<std::string> transposed_;  // at addresses that stay
};

}  // namespace tiltshift::engine
