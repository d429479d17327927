// A single-file checkpoint: all networks of a pipeline in one safetensors file, by the original repositories' names,
// without configs or a tokenizer.
//
// It lies in a model folder as `checkpoint.safetensors`, beside `tokenizer/` (and `tokenizer_2/` for two text
// encoders), which no such file holds. The configs follow from the tensors' shapes and from what tells the families
// apart: which text encoders there are. Where a config lies in its place as in diffusers' layout (unet/config.json,
// scheduler/scheduler_config.json, ...), it is read instead: what shapes cannot tell (v-prediction, other head
// counts) is said there.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "base/status.h"
#include "engine/checkpoint_names.h"
#include "engine/weights.h"

namespace tiltshift::engine {

inline constexpr char kCheckpointFile[] = "checkpoint.safetensors";

class Checkpoint {
 public:
  // Whether `directory` holds one, and no model_index.json.
  static bool IsThere(const std::string& directory);
  // DataLoss: a damaged file; Unimplemented: one whose tensors are not those of a pipeline this engine has, named.
  static absl::StatusOr<Checkpoint> Open(const std::string& directory);

  // "unet/config.json" and so on, as diffusers would have written it; none for a file that shapes do not tell.
  std::optional<std::string> Config(const std::string& name) const;
  // One part's tensors, by diffusers' names. Each has a mapping of its own of the one file.
  absl::StatusOr<Weights> Part(CheckpointPart part) const;

 private:
  std::string path_;
  CheckpointCounts counts_;
  std::map<std::string, std::string> configs_;
};

}  // namespace tiltshift::engine
