// What the update rules share, and how each is made; for samplers.cc and the rules' own files.
#pragma once

#include <cmath>
#include <memory>
#include <vector>

#include "engine/samplers.h"

namespace tiltshift::engine {

// The places of one run in the noise schedule.
struct Run {
  std::vector<double> timesteps;  // falling, from where the run begins
  std::vector<float>
      sigmas;           // of each, and the one it ends at; none for the rules that work on alphas
  int whole_steps = 0;  // that it has from pure noise
  float initial_noise_sigma = 1;
};

// x = alpha x0 + sigma eps, in the scaling where alpha^2 + sigma^2 = 1.
struct AlphaSigma {
  float alpha, sigma;
};

inline AlphaSigma VariancePreserving(float sigma) {
  const float alpha = 1.0f / std::sqrt(sigma * sigma + 1.0f);
  return {alpha, sigma * alpha};
}

// x0 and eps, from what the model says of x.
inline float PredictX0(PredictionType prediction, float x, float output, AlphaSigma at) {
  switch (prediction) {
    case PredictionType::kSample:
      return output;
    case PredictionType::kVPrediction:
      return at.alpha * x - at.sigma * output;
    default:
      return (x - at.sigma * output) / at.alpha;
  }
}

inline float PredictEps(PredictionType prediction, float x, float output, AlphaSigma at) {
  switch (prediction) {
    case PredictionType::kSample:
      return (x - at.alpha * output) / at.sigma;
    case PredictionType::kVPrediction:
      return at.alpha * output + at.sigma * x;
    default:
      return output;
  }
}

// PredictX0 and PredictEps as factors of x and of the output.
struct Factors {
  double of_latent, of_output;
};

inline Factors X0Factors(PredictionType prediction, AlphaSigma at) {
  const double alpha = at.alpha, sigma = at.sigma;
  switch (prediction) {
    case PredictionType::kSample:
      return {0, 1};
    case PredictionType::kVPrediction:
      return {alpha, -sigma};
    default:
      return {1 / alpha, -sigma / alpha};
  }
}

inline Factors EpsFactors(PredictionType prediction, AlphaSigma at) {
  const double alpha = at.alpha, sigma = at.sigma;
  switch (prediction) {
    case PredictionType::kSample:
      return {1 / sigma, -alpha / sigma};
    case PredictionType::kVPrediction:
      return {sigma, alpha};
    default:
      return {0, 1};
  }
}

std::unique_ptr<const Sampler> MakeDdim(const NoiseConfig& config, const Run& run);
std::unique_ptr<const Sampler> MakeLcm(const NoiseConfig& config, const Run& run);
std::unique_ptr<const Sampler> MakeEuler(const NoiseConfig& config, const Run& run);
std::unique_ptr<const Sampler> MakeEulerAncestral(const NoiseConfig& config, const Run& run);
std::unique_ptr<const Sampler> MakeDpmpp2m(const NoiseConfig& config, const Run& run);

}  // namespace tiltshift::engine
