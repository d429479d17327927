// Which update rule carries a latent from noise to picture. kModelDefault: the one that the model's
// scheduler_config.json names.
#pragma once

namespace tiltshift::engine {

enum class SamplerKind { kModelDefault, kDdim, kEuler, kDpmpp2m };

}  // namespace tiltshift::engine
