#include <utility>

#include "engine/checkpoint.h"
#include "engine/control_files.h"
#include "engine/demands.h"
#include "engine/finite.h"
#include "engine/lora_merge.h"
#include "engine/model_files.h"
#include "engine/model_impl.h"
#include "engine/pack/pack_model.h"

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

// Which component an error is about.
template <class Network, class Config>
absl::StatusOr<std::unique_ptr<Network>> LoadNetwork(const std::string& folder,
                                                     const Config& config, Weights weights) {
  absl::StatusOr<std::unique_ptr<Network>> network = Network::Load(config, std::move(weights));
  if (!network.ok()) return Annotate(network.status(), folder);
  return network;
}

uint64_t BytesOf(const std::string& directory, const ModelFiles& files) {
  uint64_t bytes = 0;
  const auto add = [&](const Weights& weights) {
    for (const MappedFile& file : weights.files()) bytes += file.bytes().size();
  };
  add(files.unet);
  if (Checkpoint::IsThere(directory)) return bytes;  // each part maps the one file
  for (const ModelFiles::Text& text : files.texts) add(text.weights);
  add(files.vae);
  return bytes;
}

absl::Status CheckAllFinite(const std::string& directory, const Model::Impl& model) {
  for (size_t i = 0; i < model.texts.size(); ++i) {
    TS_RETURN_IF_ERROR(
        CheckFinite(absl::StrCat(directory, "/text_encoder", model.config.index.text_suffixes[i]),
                    model.texts[i].encoder->weights()));
  }
  TS_RETURN_IF_ERROR(CheckFinite(directory + "/unet", model.unet->weights()));
  return CheckFinite(directory + "/vae", model.vae->weights());
}

// The model's pack, where there is a cache. What was packed was looked through before.
absl::Status TakePack(const std::string& directory, const LoadOptions& options,
                      PackModelOptions pack_options, Model::Impl& model) {
  std::shared_ptr<const WeightPack> pack;
  if (options.weight_cache != nullptr) {
    pack_options.may_make = false;
    pack = PackModel(model, pack_options, *options.weight_cache);
  }
  if (pack == nullptr) TS_RETURN_IF_ERROR(CheckAllFinite(directory, model));
  // Not of merged weights, which are few renders' own.
  if (pack == nullptr && options.weight_cache != nullptr && options.loras.empty()) {
    pack_options.may_make = true;
    pack = PackModel(model, pack_options, *options.weight_cache);
  }
  if (pack != nullptr) model.backend->UsePack(std::move(pack));
  return absl::OkStatus();
}

std::string RenderClass(const Backend& backend, Compute compute, const std::string& hash) {
  return absl::StrCat(backend.name(), "/engine-", kEngineVersion, "/",
                      compute == Compute::kBf16 ? "bf16" : "fp32", "/", hash.substr(0, 12));
}

}  // namespace

absl::StatusOr<ModelSummary> Model::Examine(const std::string& directory,
                                            const LoadOptions& options, const Beside& beside) {
  TS_ASSIGN_OR_RETURN(const ModelFiles files,
                      OpenModelFiles(directory, options.weight_cache.get()));
  TS_ASSIGN_OR_RETURN(const std::unique_ptr<Backend> backend, MakeBackend(options.device));
  TS_ASSIGN_OR_RETURN(const Compute compute, ChooseCompute(options.precision, *backend));
  ModelSummary summary{files.hash, RenderClass(*backend, compute, files.hash)};
  summary.demands = DemandsOf(files, beside);
  summary.weight_bytes = BytesOf(directory, files);
  return summary;
}

absl::StatusOr<std::shared_ptr<const Model>> Model::Load(const std::string& directory,
                                                         const LoadOptions& options) {
  TS_ASSIGN_OR_RETURN(ModelFiles files, OpenModelFiles(directory, options.weight_cache.get()));
  const PackModelOptions pack_options = {.directory = directory,
                                         .identity = files.identity,
                                         .file_bytes = BytesOf(directory, files)};
  const ModelConfig& config = files.config;
  if (config.vae.out_channels != 3) {
    return absl::UnimplementedError(absl::StrCat(directory, "/vae/config.json: out_channels is ",
                                                 config.vae.out_channels, "; pictures have 3"));
  }
  TS_ASSIGN_OR_RETURN(
      std::unique_ptr<Backend> backend,
      MakeBackend(options.device, options.library_products ? Products::kLibrary : Products::kFastest));
  TS_ASSIGN_OR_RETURN(const Compute compute, ChooseCompute(options.precision, *backend));
  TS_RETURN_IF_ERROR(MergeLoras(options.loras, directory, compute, &files));
  TS_RETURN_IF_ERROR(AddControls(options.controls, directory, &files));
  std::vector<Impl::Text> texts;
  for (size_t i = 0; i < files.texts.size(); ++i) {
    TS_ASSIGN_OR_RETURN(auto encoder,
                        LoadNetwork<TextEncoder>(
                            absl::StrCat(directory, "/text_encoder", config.index.text_suffixes[i]),
                            config.text_encoders[i], std::move(files.texts[i].weights)));
    texts.push_back({std::move(files.texts[i].tokenizer), std::move(encoder)});
  }
  TS_ASSIGN_OR_RETURN(auto unet,
                      LoadNetwork<UNet>(directory + "/unet", config.unet, std::move(files.unet)));
  TS_ASSIGN_OR_RETURN(
      auto vae, LoadNetwork<Vae>(directory + "/vae", config.vae, std::move(files.vae)));
  std::vector<std::unique_ptr<UNet>> controls;
  for (size_t i = 0; i < files.controls.size(); ++i) {
    ModelFiles::Control& control = files.controls[i];
    TS_RETURN_IF_ERROR(CheckFinite(options.controls[i].directory, control.weights));
    TS_ASSIGN_OR_RETURN(controls.emplace_back(),
                        LoadNetwork<UNet>(options.controls[i].directory, control.config,
                                          std::move(control.weights)));
  }
  const std::string render_class = RenderClass(*backend, compute, files.hash);
  std::unique_ptr<Impl> impl(new Impl{.config = config,
                                      .compute = compute,
                                      .hash = files.hash,
                                      .render_class = render_class,
                                      .texts = std::move(texts),
                                      .unet = std::move(unet),
                                      .controls = std::move(controls),
                                      .vae = std::move(vae),
                                      .backend = std::move(backend)});
  TS_RETURN_IF_ERROR(TakePack(directory, options, pack_options, *impl));
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
