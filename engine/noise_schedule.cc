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

// torch.cumprod of 1 - beta, which carries fp32 in double.
std::vector<float> Cumprod(std::vector<float> betas) {
  double product = 1;
  for (float& value : betas) {
    product *= 1.0f - value;
    value = static_cast<float>(product);
  }
  return betas;
}

// Lin et al. 2024, algorithm 1: sqrt(alphas_cumprod) shifted to end at 0 and scaled to begin where
// it did.
std::vector<float> RescaledToZero(const std::vector<float>& betas) {
  std::vector<float> roots = Cumprod(betas);
  for (float& value : roots) value = std::sqrt(value);
  const float first = roots.front(), last = roots.back();
  const float scale = first / (first - last);
  for (float& value : roots) value = (value - last) * scale;
  std::vector<float> rescaled;
  for (size_t i = 0; i < roots.size(); ++i) {
    const float here = roots[i] * roots[i];
    const float before = i > 0 ? roots[i - 1] * roots[i - 1] : 1.0f;
    rescaled.push_back(1.0f - (i > 0 ? here / before : here));
  }
  return rescaled;
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
  const std::vector<float> betas = Betas(config);
  return Cumprod(config.rescale_betas_zero_snr ? RescaledToZero(betas) : betas);
}

std::vector<float> Sigmas(const NoiseConfig& config) {
  std::vector<float> sigmas = AlphasCumprod(config);
  if (config.rescale_betas_zero_snr) sigmas.back() = 0x1p-24f;
  for (float& a : sigmas) a = std::sqrt((1.0f - a) / a);
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

absl::StatusOr<std::vector<double>> LcmTimesteps(const NoiseConfig& config, int steps,
                                                 double strength) {
  const int stride = config.train_timesteps / config.lcm_original_steps;
  const int trained = stride > 0 ? static_cast<int>(config.lcm_original_steps * strength) : 0;
  if (steps < 1 || steps > trained) {
    return absl::InvalidArgumentError(
        absl::StrCat("steps is ", steps, "; with the lcm sampler this model takes 1 to ", trained,
                     strength < 1 ? absl::StrCat(" at strength ", strength) : "",
                     " (its original_inference_steps is ", config.lcm_original_steps, ")"));
  }
  std::vector<double> timesteps;
  for (int i = 0; i < steps; ++i) {
    const double step = static_cast<double>(trained) / steps;  // numpy.linspace without its end
    const int index = static_cast<int>(std::floor(i * step));
    timesteps.push_back((trained - index) * stride - 1);
  }
  return timesteps;
}

std::vector<double> KarrasSigmas(KarrasRange range, int n) {
  constexpr double kRho = 7;
  const double low = std::pow(range.smallest, 1 / kRho), high = std::pow(range.largest, 1 / kRho);
  std::vector<double> sigmas;
  for (int i = 0; i < n; ++i) {
    const double ramp = n > 1 ? i * (1.0 / (n - 1)) : 0;
    sigmas.push_back(std::pow(high + ramp * (low - high), kRho));
  }
  return sigmas;
}

double TimestepOf(const std::vector<float>& table, double sigma) {
  if (table.size() < 2) return 0;
  const double wanted = std::log(std::max(sigma, 1e-10));
  const auto above =
      std::upper_bound(table.begin(), table.end(), wanted,
                       [](double log_sigma, float s) { return log_sigma < std::log(s); });
  const auto last = static_cast<int64_t>(table.size()) - 2;
  const int64_t below = std::clamp<int64_t>(above - table.begin() - 1, 0, last);
  const float low = std::log(table[below]), high = std::log(table[below + 1]);
  const double weight = std::clamp((low - wanted) / (low - high), 0.0, 1.0);
  return (1 - weight) * static_cast<double>(below) + weight * static_cast<double>(below + 1);
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
