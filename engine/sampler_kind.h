// Which update rule carries a latent from noise to picture. kModelDefault: the one that the model's
// scheduler_config.json names.
#pragma once

namespace tiltshift::engine {

enum class SamplerKind {
  kModelDefault,
  kDdim,
  kEuler,
  kEulerAncestral,
  kDpmpp2m,
  kDpmpp2mKarras,  // the same rule over the sigmas of Karras et al. 2022
  kLcm,
};

}  // namespace tiltshift::engine
