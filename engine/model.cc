#include <utility>

#include "engine/checkpoint.h"
#include "engine/control_files.h"
#include "engine/demands.h"
#include "engine/finite.h"
#include "engine/lora_merge.h"
#include "engine/model_files.h"
#include "engine/model_impl.h"
#include "engine/model_reading.h"
#include "engine/pack/pack_model.h"
#include "engine/shared_denoiser.h"

namespace tiltshift::engine {
namespace {

absl::StatusOr<Compute> ChooseCompute(Precision precision, const Backend& backend) {
  if (precision == Precision::kFp32 && !backend.HasFp32()) {
    return absl::FailedPreconditionError(
        absl::StrCat("precision fp32: ", backend.name(),
                     " computes in bf16; use precision auto or bf16, or device cpu"));
  }
  if (precision == Precision::kFp32) return Compute::kFp32;
  if (backend.HasBf16()) return Compute::kBf16;
  if (precision == Precision::kAuto) return Compute::kFp32;
  return absl::FailedPreconditionError(
      absl::StrCat("precision bf16: this processor (", backend.name(),
                   ") has no bf16 arithmetic; use precision fp32 or auto"));
}

uint64_t BytesOf(const std::string& directory, const ModelFiles& files) {
  uint64_t bytes = 0;
  const auto add = [&](const Weights& weights) {
    for (const auto& file : weights.files()) bytes += file->bytes().size();
  };
  add(files.unet);
  if (Checkpoint::IsThere(directory)) return bytes;  // each part maps the one file
  for (const ModelFiles::Text& text : files.texts) add(text.weights);
  add(files.vae);
  return bytes;
}

// LoRAs merged and ControlNets added, which make another hash of the files'.
absl::StatusOr<std::vector<std::unique_ptr<UNet>>> Change(const LoadOptions& options,
                                                          const std::string& directory,
                                                          Compute compute, ModelFiles* files) {
  TS_RETURN_IF_ERROR(MergeLoras(options.loras, directory, compute, files));
  for (const ModelFiles::Text& text : files->texts)
    TS_RETURN_IF_ERROR(CheckChangedFinite(text.weights));
  TS_RETURN_IF_ERROR(CheckChangedFinite(files->unet));
  TS_RETURN_IF_ERROR(AddControls(options.controls, directory, files));
  std::vector<std::unique_ptr<UNet>> controls;
  for (ModelFiles::Control& control : files->controls) {
    TS_RETURN_IF_ERROR(CheckFinite(control.weights));
    TS_ASSIGN_OR_RETURN(controls.emplace_back(),
                        UNet::Load(control.config, std::move(control.weights)));
  }
  return controls;
}

// The networks, each tensor of the files in its place and of its shape.
struct Networks {
  std::vector<Model::Impl::Text> texts;
  std::unique_ptr<UNet> unet;
  std::unique_ptr<Vae> vae;
};
absl::StatusOr<Networks> MakeNetworks(ModelFiles&& files) {
  Networks networks;
  for (size_t i = 0; i < files.texts.size(); ++i) {
    TS_ASSIGN_OR_RETURN(auto encoder, TextEncoder::Load(files.config.text_encoders[i],
                                                        std::move(files.texts[i].weights)));
    networks.texts.push_back({std::move(files.texts[i].tokenizer), std::move(encoder)});
  }
  TS_ASSIGN_OR_RETURN(networks.unet, UNet::Load(files.config.unet, std::move(files.unet)));
  TS_ASSIGN_OR_RETURN(networks.vae, Vae::Load(files.config.vae, std::move(files.vae)));
  return networks;
}

// The model's pack, where there is a cache: found, or made, but not of merged weights, which are
// few renders' own.
void TakePack(const LoadOptions& options, PackModelOptions pack_options, Model::Impl& model) {
  if (options.weight_cache == nullptr) return;
  pack_options.may_make = false;
  auto pack = PackModel(model, pack_options, *options.weight_cache);
  if (pack == nullptr && options.loras.empty()) {
    pack_options.may_make = true;
    pack = PackModel(model, pack_options, *options.weight_cache);
  }
  if (pack != nullptr) model.backend->UsePack(std::move(pack));
}

absl::Status CheckChannels(const std::string& directory, const VaeConfig& vae) {
  if (vae.out_channels == 3) return absl::OkStatus();
  return absl::UnimplementedError(absl::StrCat(directory, "/vae/config.json: out_channels is ",
                                               vae.out_channels, "; pictures have 3"));
}

std::string RenderClass(const Backend& backend, Compute compute, const std::string& hash) {
  return absl::StrCat(backend.name(), "/engine-", kEngineVersion, "/",
                      compute == Compute::kBf16 ? "bf16" : "fp32", "/", hash.substr(0, 12));
}

}  // namespace

absl::StatusOr<ModelSummary> Model::Examine(const std::string& directory,
                                            const LoadOptions& options, const Beside& beside) {
  TS_ASSIGN_OR_RETURN(ModelFiles files, OpenModelFiles(directory, options.weight_cache.get()));
  TS_RETURN_IF_ERROR(CheckChannels(directory, files.config.vae));
  TS_ASSIGN_OR_RETURN(const std::unique_ptr<Backend> backend, MakeBackend(options.device));
  TS_ASSIGN_OR_RETURN(const Compute compute, ChooseCompute(options.precision, *backend));
  ModelSummary summary{files.hash, RenderClass(*backend, compute, files.hash)};
  summary.demands = DemandsOf(files, beside);
  summary.weight_bytes = BytesOf(directory, files);
  TS_RETURN_IF_ERROR(MakeNetworks(std::move(files)).status());
  return summary;
}

// All of the files is read once, to hash it and to look for what is no number, and packed
// meanwhile.
absl::StatusOr<std::shared_ptr<const Model>> Model::Load(const std::string& directory,
                                                         const LoadOptions& options) {
  TS_ASSIGN_OR_RETURN(ModelFiles files, OpenUnread(directory, options.weight_cache.get()));
  ModelReading reading(directory, options.weight_cache.get(), files);
  const PackModelOptions pack_options = {.directory = directory,
                                         .identity = files.identity,
                                         .file_bytes = BytesOf(directory, files),
                                         .is_sound = [&] { return reading.Hash().status(); }};
  TS_RETURN_IF_ERROR(CheckChannels(directory, files.config.vae));
  std::unique_ptr<Impl> impl(new Impl{.config = files.config});
  TS_ASSIGN_OR_RETURN(impl->backend,
                      MakeBackend(options.device, options.library_products ? Products::kLibrary
                                                                           : Products::kFastest));
  TS_ASSIGN_OR_RETURN(impl->compute, ChooseCompute(options.precision, *impl->backend));
  if (!options.loras.empty() || !options.controls.empty()) {
    TS_ASSIGN_OR_RETURN(files.hash, reading.Hash());
    TS_ASSIGN_OR_RETURN(impl->controls, Change(options, directory, impl->compute, &files));
  }
  impl->hash = files.hash;
  TS_ASSIGN_OR_RETURN(Networks networks, MakeNetworks(std::move(files)));
  impl->texts = std::move(networks.texts);
  impl->unet = std::move(networks.unet);
  impl->vae = std::move(networks.vae);
  TakePack(options, pack_options, *impl);
  if (impl->hash.empty()) {
    TS_ASSIGN_OR_RETURN(impl->hash, reading.Hash());
  }
  impl->render_class = RenderClass(*impl->backend, impl->compute, impl->hash);
  // A batch shares one graph, without ControlNets.
  if (impl->backend->DenoisesInBatches() && impl->controls.empty())
    impl->denoiser = std::make_unique<SharedDenoiser>(*impl);
  return std::shared_ptr<const Model>(new Model(std::move(impl)));
}

Model::Model(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Model::~Model() = default;

const std::string& Model::hash() const { return impl_->hash; }
const std::string& Model::render_class() const { return impl_->render_class; }
int Model::size_multiple() const { return impl_->config.size_multiple(); }
Mode Model::photo_mode() const {
  switch (impl_->config.extra_input) {
    case ExtraInput::kPhoto:
      return Mode::kEdit;
    case ExtraInput::kMaskPhoto:
      return Mode::kInpaint;
    case ExtraInput::kNone:
      break;
  }
  return Mode::kImageToImage;
}

}  // namespace tiltshift::engine
