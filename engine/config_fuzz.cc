// Any text is refused or gives dimensions that divide, and a schedule whose numbers are finite. The
// first byte picks the parser.
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "base/check.h"
#include "engine/model_config.h"
#include "engine/samplers.h"

namespace {

using namespace tiltshift::engine;

void CheckUNet(const UNetConfig& unet) {
  for (int level = 0; level < unet.levels(); ++level) {
    TS_CHECK(unet.block_out_channels[level] % unet.norm_num_groups == 0);
    TS_CHECK(unet.attention_heads.at(level) > 0 && unet.layers_per_block.at(level) > 0);
    TS_CHECK(!unet.down_attention.at(level) ||
             unet.block_out_channels[level] % unet.attention_heads[level] == 0);
  }
  TS_CHECK(unet.levels() > 0 && unet.block_out_channels.back() % unet.attention_heads.back() == 0);
}

void CheckNoise(NoiseConfig noise) {
  if (noise.train_timesteps > 2000) return;  // slow, and no other code
  for (SamplerKind kind : {SamplerKind::kModelDefault, SamplerKind::kDdim, SamplerKind::kEuler,
                           SamplerKind::kEulerAncestral, SamplerKind::kDpmpp2m,
                           SamplerKind::kDpmpp2mKarras, SamplerKind::kLcm}) {
    const auto sampler = MakeSampler(kind, noise, {.steps = 4});
    if (!sampler.ok()) continue;
    const std::vector<float> fresh(2, 0.25f);
    std::vector<float> latent(2, 1.0f), history((*sampler)->history_floats(2));
    for (int step = 0; step < (*sampler)->steps(); ++step) {
      TS_CHECK(std::isfinite((*sampler)->timestep(step)));
      (*sampler)->Step(step, {std::vector<float>(2, 0.5f), fresh}, {latent, history});
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0]) {
    case 'u':
      if (const auto unet = ParseUNetConfig(text, "fuzz"); unet.ok()) CheckUNet(*unet);
      break;
    case 'v':
      if (const auto vae = ParseVaeConfig(text, "fuzz"); vae.ok()) TS_CHECK(vae->scale() <= 128);
      break;
    case 't':
      if (const auto t = ParseTextEncoderConfig(text, "fuzz"); t.ok())
        TS_CHECK(t->hidden_size % t->attention_heads == 0);
      break;
    default:
      if (const auto noise = ParseNoiseConfig(text, "fuzz", ""); noise.ok()) CheckNoise(*noise);
  }
  return 0;
}
