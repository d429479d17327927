// DPM-Solver++ 2M: Lu et al. 2022, algorithm 2 with the midpoint form.
#include "base/check.h"
#include "engine/sampler_rules.h"

namespace tiltshift::engine {
namespace {

float Lambda(AlphaSigma s) { return std::log(s.alpha) - std::log(s.sigma); }

// History is the x0 of the step before; a run's first step, wherever it begins, is of first order.
class Dpmpp2m final : public Sampler {
 public:
  Dpmpp2m(const NoiseConfig& config, const Run& run) : prediction_(config.prediction) {
    timesteps_.assign(run.timesteps.begin(), run.timesteps.end());
    const std::vector<float>& sigmas = run.sigmas;
    const int n = steps();
    const bool last_is_first_order = config.euler_at_final ||
                                     (config.lower_order_final && run.whole_steps < 15) ||
                                     config.final_sigma == FinalSigma::kZero;
    for (int step = 0; step < n; ++step) {
      const AlphaSigma to = VariancePreserving(sigmas[step + 1]),
                       from = VariancePreserving(sigmas[step]);
      const float h = Lambda(to) - Lambda(from);
      At at{from, to.sigma / from.sigma, to.alpha * (std::exp(-h) - 1.0f), 0};
      if (step > 0 && !(step == n - 1 && last_is_first_order)) {
        const float h_before = Lambda(from) - Lambda(VariancePreserving(sigmas[step - 1]));
        at.inverse_ratio = 1.0f / (h_before / h);
      }
      at_.push_back(at);
    }
  }

  NoiseMix MixAt(int step) const override { return {at_[step].here.alpha, at_[step].here.sigma}; }
  size_t history_floats(size_t latent_floats) const override { return latent_floats; }

  void Step(int step, const StepInputs& inputs, const SampleState& sample) const override {
    TS_CHECK(sample.history.size() == sample.latent.size());
    const At c = at_[step];
    const float half_weight = 0.5f * c.weight;
    for (size_t i = 0; i < sample.latent.size(); ++i) {
      const float x = sample.latent[i], out = inputs.output[i];
      const float x0 = PredictX0(prediction_, x, out, c.here);
      float next = c.shrink * x - c.weight * x0;
      if (c.inverse_ratio != 0) next -= half_weight * (c.inverse_ratio * (x0 - sample.history[i]));
      sample.latent[i] = next;
      sample.history[i] = x0;
    }
  }

  StepRule RuleAt(int step) const override {
    const At c = at_[step];
    const Factors x0 = X0Factors(prediction_, c.here);
    const double second = 0.5 * c.weight * c.inverse_ratio;
    return {.x0_of_latent = x0.of_latent,
            .x0_of_output = x0.of_output,
            .next_of_latent = c.shrink,
            .next_of_x0 = -c.weight - second,
            .next_of_history = second};
  }

 private:
  struct At {
    AlphaSigma here;
    float shrink, weight;  // sigma_t / sigma_s, and alpha_t (e^-h - 1)
    float inverse_ratio;   // h / h_before; 0 where the step is of first order
  };
  PredictionType prediction_;
  std::vector<At> at_;
};

}  // namespace

std::unique_ptr<const Sampler> MakeDpmpp2m(const NoiseConfig& config, const Run& run) {
  return std::make_unique<Dpmpp2m>(config, run);
}

}  // namespace tiltshift::engine
