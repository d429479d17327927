#include "engine/denoise_batch.h"

namespace tiltshift::engine {

SampleStep SampleStepOf(const Sampler& sampler, int step) {
  SampleStep made = {.rule = sampler.RuleAt(step), .noise_stream = static_cast<uint32_t>(step + 1)};
  if (step + 1 < sampler.steps()) {
    made.next_input_factor = sampler.InputFactor(step + 1);
    made.kept = sampler.MixAt(step + 1);
  }
  return made;
}

}  // namespace tiltshift::engine
