// How much noise is left at each training timestep, and which timesteps a run of n steps visits.
//
// Computed as diffusers does: fp32 where torch computes, double where numpy does, in the same
// order, because the parity of a whole run (relative L2 < 1e-4) has no room for another rounding of
// the cumulative product.
#pragma once

#include <vector>

#include "base/status.h"
#include "engine/model_config.h"

namespace tiltshift::engine {

// alphas_cumprod [train_timesteps]: the product of 1 - beta up to each timestep (Ho et al. 2020,
// eq. 4). With rescale_betas_zero_snr the last is 0 (Lin et al. 2024, algorithm 1).
std::vector<float> AlphasCumprod(const NoiseConfig& config);

// ((1 - a) / a)^0.5 of each: the noise's standard deviation where the signal's scale is 1 (Karras
// et al. 2022). A last alpha of 0 counts as 2^-24, as in diffusers.
std::vector<float> Sigmas(const NoiseConfig& config);

// The timesteps of a run, falling, as numbers of the training range.
struct TimestepOptions {
  TimestepSpacing spacing = TimestepSpacing::kLeading;
  int steps = 20;
  bool whole = true;       // linspace rounds to whole timesteps
  bool drop_last = false;  // leading and linspace make one more and leave the last away (DPM++)
};
// InvalidArgument: a timestep outside the training range, or more steps than it has.
absl::StatusOr<std::vector<double>> Timesteps(const NoiseConfig& config,
                                              const TimestepOptions& options);

// What a distilled model was trained on, thinned out: `steps` of the original_inference_steps *
// strength timesteps (Luo et al. 2023). InvalidArgument: fewer of those than steps.
absl::StatusOr<std::vector<double>> LcmTimesteps(const NoiseConfig& config, int steps,
                                                 double strength);

// n sigmas from the largest to the smallest, even in sigma^(1/7) (Karras et al. 2022, eq. 5).
struct KarrasRange {
  double largest, smallest;
};
std::vector<double> KarrasSigmas(KarrasRange range, int n);

// Where a sigma lies in the rising `table`: a timestep with its fraction, interpolated in log
// sigma.
double TimestepOf(const std::vector<float>& table, double sigma);

// numpy.interp over the indices 0, 1, ... of `table`, in double.
double Interpolate(const std::vector<float>& table, double index);

}  // namespace tiltshift::engine
