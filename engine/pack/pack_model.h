// All weights of a loaded model into a pack.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "engine/model_impl.h"
#include "engine/pack/weight_cache.h"

namespace tiltshift::engine {

struct PackModelOptions {
  std::string directory, identity;  // the model's
  uint64_t file_bytes = 0;          // of the model's weights
  bool may_make = true;             // or only find
  // Asked once all is packed: whether the model is sound. A pack of one that is not is not kept.
  std::function<absl::Status()> is_sound = [] { return absl::OkStatus(); };
};

// The model's pack, made where the cache has none; null where it can't be kept or the backend keeps
// none. What another size of picture wants in another layout is not in it: that is packed when it
// is asked for.
std::shared_ptr<const WeightPack> PackModel(const Model::Impl& model,
                                            const PackModelOptions& options, WeightCache& cache);

}  // namespace tiltshift::engine
