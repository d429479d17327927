#include "engine/vae.h"

#include <utility>

#include "engine/vae_kl.h"
#include "engine/vae_tiny.h"

namespace tiltshift::engine {

absl::StatusOr<std::unique_ptr<Vae>> Vae::Load(const VaeConfig& config, Weights weights) {
  std::unique_ptr<Vae> vae;
  if (config.kind == VaeKind::kTiny) {
    vae = std::make_unique<TinyVae>(config, std::move(weights));
  } else {
    vae = std::make_unique<KlVae>(config, std::move(weights));
  }
  vae->LoadAll();
  TS_RETURN_IF_ERROR(vae->set_.status());
  return vae;
}

}  // namespace tiltshift::engine
