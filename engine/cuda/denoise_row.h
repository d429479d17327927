// A sampler's rule as the card's denoise step takes it.
#pragma once

#include "engine/samplers.h"
#include "kernels/denoise_step.h"

namespace tiltshift::engine::cuda {

// In single precision; the rest is the row's of a sample without guidance.
inline kernels::DenoiseRow RuleRow(const StepRule& rule) {
  return {.forwards = 1,
          .x0_of_latent = static_cast<float>(rule.x0_of_latent),
          .x0_of_output = static_cast<float>(rule.x0_of_output),
          .clip = static_cast<float>(rule.clip),
          .next_of_latent = static_cast<float>(rule.next_of_latent),
          .next_of_output = static_cast<float>(rule.next_of_output),
          .next_of_x0 = static_cast<float>(rule.next_of_x0),
          .next_of_history = static_cast<float>(rule.next_of_history),
          .next_of_noise = static_cast<float>(rule.next_of_noise)};
}

}  // namespace tiltshift::engine::cuda
