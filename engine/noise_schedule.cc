#include "engine/noise_schedule.h"

#include <algorithm>
#include <cmath>

namespace tiltshift::engine {
namespace {

// torch.linspace in fp32: from both ends towards the middle.
std::vector<float> Linspace(float first, float last, int n) {
  std::vector<float> values(n, first);
  const float step = n > 1 ? (last - first) / static_cast<float>(n - 1) : 0;
  for (int i = 0; i < n; ++i) {
    values[i] = i < n / 2 ? first + step * static_cast<float>(i)
                          : last - step * static_cast<float>(n - 1 - i);
  }
  return n > 1 ? values : std::vector<float>(n, first);
}

std::vector<float> Betas(const NoiseConfig& config) {
  if (config.beta_schedule == BetaSchedule::kLinear) {
    return Linspace(static_cast<float>(config.beta_start), static_cast<float>(config.beta_end),
                    config.train_timesteps);
  }
  std::vector<float> betas =
      Linspace(static_cast<float>(std::sqrt(config.beta_start)),
               static_cast<float>(std::sqrt(config.beta_end)), config.train_timesteps);
  for (float& beta : betas) beta *= beta;
  return betas;
}

// numpy.linspace(0, last, n) read backwards.
std::vector<double> FallingLinspace(double last, int n) {
  std::vector<double> values(n, 0);
  for (int i = 1; i < n; ++i) values[n - 1 - i] = i == n - 1 ? last : i * (last / (n - 1));
  return values;
}

// numpy.arange(n, 0, -n / steps), rounded, minus 1. Rounding of the ratio can make numpy's last
// element the end itself; the timestep before the first does not exist, so it is left away.
std::vector<double> Trailing(int train_timesteps, int steps) {
  const double n = train_timesteps;
  const double delta = (n - n / steps) - n;
  std::vector<double> values(steps);
  for (int i = 0; i < steps; ++i) values[i] = std::nearbyint(n + i * delta) - 1;
  return values;
}

}  // namespace

std::vector<float> AlphasCumprod(const NoiseConfig& config) {
  std::vector<float> alphas_cumprod = Betas(config);
  double product = 1;  // torch.cumprod carries fp32 in double
  for (float& value : alphas_cumprod) {
    product *= 1.0f - value;
    value = static_cast<float>(product);
  }
  return alphas_cumprod;
}

std::vector<float> Sigmas(const std::vector<float>& alphas_cumprod) {
  std::vector<float> sigmas;
  sigmas.reserve(alphas_cumprod.size());
  for (float a : alphas_cumprod) sigmas.push_back(std::sqrt((1.0f - a) / a));
  return sigmas;
}

absl::StatusOr<std::vector<double>> Timesteps(const NoiseConfig& config,
                                              const TimestepOptions& options) {
  const int train = config.train_timesteps;
  const bool one_more = options.drop_last && options.spacing != TimestepSpacing::kTrailing;
  const int made = options.steps + (one_more ? 1 : 0);
  if (options.steps < 1 || made > train) {
    return absl::InvalidArgumentError(absl::StrCat("steps is ", options.steps,
                                                   "; this model and sampler take 1 to ",
                                                   train - (one_more ? 1 : 0)));
  }
  std::vector<double> timesteps;
  switch (options.spacing) {
    case TimestepSpacing::kLinspace:
      timesteps = FallingLinspace(train - 1, made);
      if (options.whole) {
        for (double& t : timesteps) t = std::nearbyint(t);
      }
      break;
    case TimestepSpacing::kLeading:
      for (int i = made - 1; i >= 0; --i) timesteps.push_back(i * (train / made));
      break;
    case TimestepSpacing::kTrailing:
      timesteps = Trailing(train, made);
      break;
  }
  if (one_more) timesteps.pop_back();
  if (options.spacing == TimestepSpacing::kLeading) {
    for (double& t : timesteps) t += config.steps_offset;
  }
  const auto [low, high] = std::minmax_element(timesteps.begin(), timesteps.end());
  if (*low < 0 || *high > train - 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "steps ", options.steps, " with the model's steps_offset ", config.steps_offset,
        " leave its ", train, " training timesteps; ask for fewer steps"));
  }
  return timesteps;
}

double Interpolate(const std::vector<float>& table, double index) {
  const double last = static_cast<double>(table.size() - 1);
  if (index <= 0) return table.front();
  if (index >= last) return table.back();
  const size_t below = static_cast<size_t>(index);
  const double slope = static_cast<double>(table[below + 1]) - table[below];
  return slope * (index - static_cast<double>(below)) + table[below];
}

}  // namespace tiltshift::engine
