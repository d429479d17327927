// What a loaded model holds; for the engine's own files and tests.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/backend.h"
#include "engine/model_config.h"
#include "engine/renderer.h"
#include "engine/text_encoder.h"
#include "engine/tokenizer.h"
#include "engine/unet.h"
#include "engine/vae.h"

namespace tiltshift::engine {

struct Model::Impl {
  ModelConfig config;
  Compute compute = Compute::kFp32;
  std::string hash;
  std::string render_class;
  struct Text {
    Tokenizer tokenizer;
    std::unique_ptr<TextEncoder> encoder;
  };
  std::vector<Text> texts;  // one for each of config.text_encoders
  std::unique_ptr<UNet> unet;
  std::vector<std::unique_ptr<UNet>> controls;  // in the order of LoadOptions
  std::unique_ptr<const Vae> vae;
  std::unique_ptr<Backend> backend;  // its own locks; renderers of all threads compile through it
};

}  // namespace tiltshift::engine
