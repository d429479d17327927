// What the tensors of a single-file checkpoint are called: the names of the latent diffusion repositories (CompVis,
// Stability), each with its part of a pipeline and diffusers' name for it. One table, checkpoint_names.cc's.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace tiltshift::engine {

enum class CheckpointPart { kUnet, kVae, kText, kText2 };

// How a tensor of the file becomes diffusers' tensor.
enum class CheckpointForm {
  kSame,
  kMatrix,      // a 1x1 filter [out, in, 1, 1] is a matrix [out, in]
  kThirds,      // q, k and v stacked: name stands for "%s" once with q, k and v each
  kTransposed,  // [in, out]
};

// Numbers that names are counted by.
struct CheckpointCounts {
  int unet_layers = 2;  // resnets of a level
  int vae_levels = 4;
};

struct CheckpointName {
  CheckpointPart part = CheckpointPart::kUnet;
  std::string name;  // diffusers'
  CheckpointForm form = CheckpointForm::kSame;
};

// None: a tensor that is not needed to render (training state, position ids, ...).
std::optional<CheckpointName> TranslateCheckpointName(std::string_view name, const CheckpointCounts& counts);

}  // namespace tiltshift::engine
