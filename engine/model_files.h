// A model directory, opened and believed: the configs, the tokenizer and the mapped weights,
// checked each on its own and against one another, and the hash that names them all.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "base/status.h"
#include "engine/model_config.h"
#include "engine/pack/weight_cache.h"
#include "engine/tokenizer.h"
#include "engine/weights.h"

namespace tiltshift::engine {

struct ModelFiles {
  struct Text {  // one for each of config.index.text_suffixes
    Tokenizer tokenizer;
    Weights weights;
  };
  struct Control {  // a ControlNet beside the model
    UNetConfig config;
    Weights weights;
  };
  ModelConfig config;
  std::vector<Text> texts;
  Weights unet;
  Weights vae;
  std::deque<Control> controls;  // none until they are added
  std::string identity;  // ModelIdentity's, with a cache
  std::string hash;      // ModelReading's; empty where nothing was read yet
};

// NotFound: the directory or a file in it; DataLoss, Unimplemented, InvalidArgument: as its readers
// say; also DataLoss for a weight that is NaN or infinite. Each message names the file.
absl::StatusOr<ModelFiles> OpenModelFiles(const std::string& directory, WeightCache* cache = nullptr);
// The same by the files' form alone: a ModelReading looks at the weights.
absl::StatusOr<ModelFiles> OpenUnread(const std::string& directory, WeightCache* cache);

}  // namespace tiltshift::engine
