// All of a model read once, on threads of its own: for its hash, and for what is no number.
#pragma once

#include <future>
#include <memory>
#include <string>

#include "engine/model_files.h"

namespace tiltshift::engine {

// Used by one thread.
class ModelReading {
 public:
  // Begins; `files` may change or go meanwhile. With a cache, which must outlive this and may be
  // null, that knows these files, which were looked through then, nothing is read.
  ModelReading(const std::string& directory, WeightCache* cache, const ModelFiles& files);

  // Waits for the end: 64 hex characters, HashModel's of configs, tokenizers and weights. DataLoss:
  // a weight is NaN or infinite.
  absl::StatusOr<std::string> Hash();

 private:
  // What was opened is what the identity names where that is the same before and after.
  bool StillThose() const;

  std::string directory_, identity_;  // no identity: none to be remembered by
  WeightCache* cache_;
  bool is_new_ = false;                                   // not remembered yet
  std::shared_future<absl::StatusOr<std::string>> hash_;  // its end waits for the threads
};

}  // namespace tiltshift::engine
