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

// Raised by any change that may change a picture's bytes, or a model's hash.
inline constexpr int kEngineVersion = 9;

class SharedDenoiser;

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
  // Of the networks that run once a prompt or a run. In a model of bf16 they must not take the memory of fp32.
  Compute seldom_compute() const { return compute == Compute::kBf16 ? Compute::kFp32Sparing : Compute::kFp32; }
  std::unique_ptr<Backend> backend;  // its own locks; renderers of all threads compile through it
  // Where the backend keeps the samples: all renderers' go through it together. Else null.
  std::unique_ptr<SharedDenoiser> denoiser;
};

}  // namespace tiltshift::engine
