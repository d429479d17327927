#include "engine/pack/pack_model.h"

#include <filesystem>

#include "engine/pack/model_identity.h"

namespace tiltshift::engine {
namespace {

constexpr int kUsualSide = 64;   // latent positions, where the model's configs say nothing
constexpr int kUsualSteps = 20;  // changes no layout of a vector times a matrix

absl::Status PackAll(const Model::Impl& model, PackWriter& writer) {
  Backend& backend = *model.backend;
  const int tokens = model.texts[0].tokenizer.length();
  for (const Model::Impl::Text& text : model.texts) {
    const auto encode = text.encoder->Build(tokens, {});
    TS_RETURN_IF_ERROR(backend.PackInto(writer, encode.graph, model.seldom_compute()));
  }
  const auto time = model.unet->BuildTime(kUsualSteps);
  TS_RETURN_IF_ERROR(backend.PackInto(writer, time.graph, model.seldom_compute()));
  const auto context = model.unet->BuildContext(tokens);
  TS_RETURN_IF_ERROR(backend.PackInto(writer, context.graph, model.compute));
  const int native = model.config.unet.sample_size, side = native > 0 ? native : kUsualSide;
  const auto denoise = model.unet->BuildDenoise({side, side, 0}, tokens);
  TS_RETURN_IF_ERROR(backend.PackInto(writer, denoise.graph, model.compute));
  const auto decode = model.vae->BuildDecode({side, side, 0});
  TS_RETURN_IF_ERROR(backend.PackInto(writer, decode.graph, model.compute));
  if (!model.vae->has_encoder()) return absl::OkStatus();
  const int pixels = side * model.config.vae.scale();
  const auto encode = model.vae->BuildEncode({pixels, pixels, 0});
  return backend.PackInto(writer, encode.graph, model.compute);
}

}  // namespace

std::shared_ptr<const WeightPack> PackModel(const Model::Impl& model,
                                            const PackModelOptions& options, WeightCache& cache) {
  const std::string packing = model.backend->packing();
  if (packing.empty() || options.identity.empty()) return nullptr;
  std::error_code error;
  const auto folder = std::filesystem::canonical(options.directory, error);
  const WeightCache::Wanted wanted = {
      .model = error ? options.directory : folder.string(),
      .identity = options.identity,
      .packing = absl::StrCat(packing, model.compute == Compute::kBf16 ? "/bf16" : "/fp32",
                              "/engine-", kEngineVersion),
      .bytes = model.compute == Compute::kBf16 ? options.file_bytes : 2 * options.file_bytes};
  if (!options.may_make) return cache.Find(wanted);
  return cache.Make(wanted, [&](PackWriter& writer) -> absl::Status {
    TS_RETURN_IF_ERROR(PackAll(model, writer));
    TS_RETURN_IF_ERROR(writer.Write());
    TS_RETURN_IF_ERROR(options.is_sound());
    TS_ASSIGN_OR_RETURN(const std::string after, ModelIdentity(options.directory));
    if (after == options.identity) return absl::OkStatus();
    return absl::AbortedError(options.directory + ": its files changed while they were packed");
  });
}

}  // namespace tiltshift::engine
