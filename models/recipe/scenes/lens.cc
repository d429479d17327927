#include "models/recipe/scenes/lens.h"

#include <algorithm>
#include <cmath>

#include "models/recipe/scenes/random.h"

namespace tiltshift::scenes {
namespace {

typedef float Pixel __attribute__((vector_size(16)));

constexpr float kBlurLevels[] = {0.012f, 0.025f, 0.05f, 0.09f};  // circles, of the picture's width
constexpr float kBlurScale = 0.030f;
constexpr float kSharpest = 0.002f;

Pixel Replicated(float value) { return Pixel{value, value, value, value}; }

// One pass along the rows and one down the columns, edges repeated. `across` is room for the first.
void BoxBlur(std::vector<Pixel>& image, std::vector<Pixel>& across, int size, int radius) {
  const float share = 1.f / static_cast<float>(2 * radius + 1);
  const int last = size - 1;
  for (int y = 0; y < size; ++y) {
    const Pixel* from = &image[y * size];
    Pixel* to = &across[y * size];
    Pixel sum{};
    for (int i = -radius; i <= radius; ++i) sum += from[std::clamp(i, 0, last)];
    for (int x = 0; x < size; ++x) {
      to[x] = sum * share;
      sum += from[std::min(x + radius + 1, last)] - from[std::max(x - radius, 0)];
    }
  }
  std::vector<Pixel> sums(size);
  for (int i = -radius; i <= radius; ++i) {
    const Pixel* row = &across[std::clamp(i, 0, last) * size];
    for (int x = 0; x < size; ++x) sums[x] += row[x];
  }
  for (int y = 0; y < size; ++y) {
    const Pixel* enters = &across[std::min(y + radius + 1, last) * size];
    const Pixel* leaves = &across[std::max(y - radius, 0) * size];
    for (int x = 0; x < size; ++x) {
      image[y * size + x] = sums[x] * share;
      sums[x] += enters[x] - leaves[x];
    }
  }
}

float Unit(float x) { return std::clamp(x, 0.f, 1.f); }

}  // namespace

void AddFallingSnow(const Scene& scene, Exposure& exposure) {
  Random random(static_cast<uint64_t>(scene.texture_offset * 1000));
  random.Bits();
  const int size = exposure.size;
  const auto width = static_cast<float>(size);
  for (int flake = 0; flake < 26; ++flake) {
    const float cx = random.Between(0, width), cy = random.Between(0, width);
    const float radius = random.Between(0.5f, 2.2f) * width / 256.f;
    const float opacity = random.Between(0.25f, 0.7f), reach = radius * 2;
    for (int y = std::max(0, static_cast<int>(cy - reach)); y < std::min(width, cy + reach); ++y) {
      for (int x = std::max(0, static_cast<int>(cx - reach)); x < std::min(width, cx + reach);
           ++x) {
        const float off = std::hypot(x - cx, y - cy) / radius;
        const float cover = opacity * Unit(1.6f - off * 1.2f);
        float* pixel = &exposure.radiance[(y * size + x) * 4];
        for (int c = 0; c < 3; ++c) pixel[c] += (1.1f - pixel[c]) * cover;
      }
    }
  }
}

void Defocus(Exposure& exposure) {
  const int size = exposure.size, pixels = size * size;
  const auto width = static_cast<float>(size);
  auto* const result = reinterpret_cast<Pixel*>(exposure.radiance.data());
  const std::vector<Pixel> sharp(result, result + pixels);
  std::vector<Pixel> level(pixels), room(pixels);
  float lower = kSharpest;
  for (const float circle : kBlurLevels) {
    const int radius = std::max(1, static_cast<int>(circle * width * 0.38f * 0.9f + 0.5f));
    for (int i = 0; i < pixels; ++i) {
      const float own = exposure.blur[i] * kBlurScale;
      const float weight = Unit((own - circle * 0.25f) / (circle * 0.35f)) + 0.002f;
      level[i] = sharp[i] * weight;
      level[i][3] = weight;
    }
    for (int pass = 0; pass < 3; ++pass) BoxBlur(level, room, size, radius);  // near a Gaussian
    for (int i = 0; i < pixels; ++i) {
      const float own = exposure.blur[i] * kBlurScale;
      const float share = Unit((own * 1.6f - lower) / (circle - lower));
      if (share <= 0) continue;
      const Pixel blurred = level[i] * (1.f / std::max(level[i][3], 1e-5f));
      result[i] += (blurred - result[i]) * Replicated(share);
    }
    lower = circle;
  }
}

void Develop(const Exposure& exposure, std::span<uint8_t> rgb) {
  const int size = exposure.size;
  const auto width = static_cast<float>(size);
  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x) {
      const float u = (static_cast<float>(x) + 0.5f) / width * 2 - 1;
      const float v = (static_cast<float>(y) + 0.5f) / width * 2 - 1;
      const float vignette = 1 - 0.16f * (u * u + v * v);
      for (int c = 0; c < 3; ++c) {
        const float light =
            std::max(0.f, exposure.radiance[(y * size + x) * 4 + c] * vignette * 0.92f);
        const float film =
            light * (2.51f * light + 0.03f) / (light * (2.43f * light + 0.59f) + 0.14f);
        const float value = std::pow(std::min(film, 1.f), 1 / 2.2f) * 255 + 0.5f;
        rgb[(y * size + x) * 3 + c] = static_cast<uint8_t>(std::clamp(value, 0.f, 255.f));
      }
    }
  }
}

}  // namespace tiltshift::scenes
