#include "models/recipe/scenes/render.h"

#include <atomic>
#include <thread>

#include "base/check.h"
#include "models/recipe/scenes/lens.h"

namespace tiltshift::scenes {
namespace {

size_t PictureBytes(const RenderOptions& options) {
  return size_t{3} * options.size * options.size;
}

void RenderInto(const Scene& scene, const RenderOptions& options, const IsaVariant& variant,
                std::span<uint8_t> rgb) {
  TS_CHECK(options.size > 0 && options.size % 4 == 0 && options.supersample > 0);
  const size_t pixels = size_t{1} * options.size * options.size;
  Exposure exposure{options.size, std::vector<float>(pixels * 4), std::vector<float>(pixels)};
  variant.trace(scene, options.size, options.supersample, exposure.radiance.data(),
                exposure.blur.data());
  if (scene.background == kSnow) AddFallingSnow(scene, exposure);
  Defocus(exposure);
  Develop(exposure, rgb);
}

}  // namespace

std::vector<uint8_t> Render(const Scene& scene, const RenderOptions& options,
                            const IsaVariant& variant) {
  std::vector<uint8_t> rgb(PictureBytes(options));
  RenderInto(scene, options, variant, rgb);
  return rgb;
}

std::vector<uint8_t> RenderAll(std::span<const Scene> scenes, const RenderOptions& options) {
  const size_t bytes = PictureBytes(options);
  const IsaVariant& variant = RunnableVariants().front();
  std::vector<uint8_t> rgb(scenes.size() * bytes);
  std::atomic<size_t> next = 0;
  const auto work = [&] {
    for (size_t i; (i = next++) < scenes.size();) {
      RenderInto(scenes[i], options, variant, std::span(rgb).subspan(i * bytes, bytes));
    }
  };
  std::vector<std::jthread> helpers;
  for (int i = 1; i < options.threads; ++i) helpers.emplace_back(work);
  work();
  helpers.clear();
  return rgb;
}

}  // namespace tiltshift::scenes
