#include <sys/stat.h>

#include <utility>

#include "base/file.h"
#include "base/hash.h"
#include "engine/model_impl.h"

namespace tiltshift::engine {
namespace {

// Raised by any change that may change a picture's bytes.
constexpr int kEngineVersion = 1;

bool IsFolder(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

// Each file under its name within the model and with its size, so that no two models run together the same.
void HashFile(const std::string& name, std::string_view bytes, Sha256* hash) {
  hash->Update(absl::StrCat(name, "\n", bytes.size(), "\n"));
  hash->Update(bytes);
}

absl::StatusOr<std::string> HashModel(const std::string& directory, const Model::Impl& model) {
  Sha256 hash;
  for (const char* name :
       {"model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json",
        "tokenizer/vocab.json", "tokenizer/merges.txt", "tokenizer/tokenizer_config.json",
        "tokenizer/special_tokens_map.json", "unet/config.json", "vae/config.json"}) {
    const absl::StatusOr<std::string> text = ReadFile(directory + "/" + name);
    if (absl::IsNotFound(text.status())) continue;  // the tokenizer's last two may be missing
    TS_RETURN_IF_ERROR(text.status());
    HashFile(name, *text, &hash);
  }
  const std::pair<const char*, const Weights*> parts[] = {{"text_encoder", &model.text_encoder->weights()},
                                                          {"unet", &model.unet->weights()},
                                                          {"vae", &model.vae->weights()}};
  for (const auto& [name, weights] : parts) {
    for (const MappedFile& file : weights->files()) HashFile(name, file.bytes(), &hash);
  }
  return hash.Hex();
}

absl::Status CheckTokens(const Tokenizer& tokenizer, const TextEncoderConfig& config) {
  if (tokenizer.length() > config.max_positions) {
    return absl::InvalidArgumentError(
        absl::StrCat("tokenizer/tokenizer_config.json: model_max_length is ", tokenizer.length(),
                     ", but text_encoder/config.json has max_position_embeddings ", config.max_positions));
  }
  if (tokenizer.vocab_size() > config.vocab_size) {
    return absl::InvalidArgumentError(
        absl::StrCat("tokenizer/vocab.json: ids go up to ", tokenizer.vocab_size() - 1,
                     ", but text_encoder/config.json has vocab_size ", config.vocab_size));
  }
  return absl::OkStatus();
}

absl::StatusOr<Compute> ChooseCompute(Precision precision, const Backend& backend) {
  if (precision == Precision::kFp32) return Compute::kFp32;
  if (backend.HasBf16()) return Compute::kBf16;
  if (precision == Precision::kAuto) return Compute::kFp32;
  return absl::FailedPreconditionError(
      absl::StrCat("precision bf16: this processor (", backend.name(),
                   ") has no bf16 arithmetic; use precision fp32 or auto"));
}

template <class Network, class Config>
absl::StatusOr<std::unique_ptr<Network>> LoadNetwork(const std::string& folder, const char* stem,
                                                     const Config& config) {
  TS_ASSIGN_OR_RETURN(Weights weights, Weights::Open(folder, stem));
  absl::StatusOr<std::unique_ptr<Network>> network = Network::Load(config, std::move(weights));
  if (!network.ok()) return Annotate(network.status(), folder);
  return network;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Model>> Model::Load(const std::string& directory,
                                                         const LoadOptions& options) {
  if (!IsFolder(directory)) {
    return absl::NotFoundError(absl::StrCat(
        "model ", directory, ": no such directory; give a diffusers model directory, with model_index.json in it"));
  }
  TS_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(directory));
  if (config.vae.out_channels != 3) {
    return absl::UnimplementedError(absl::StrCat(directory, "/vae/config.json: out_channels is ",
                                                 config.vae.out_channels, "; pictures have 3"));
  }
  std::unique_ptr<Backend> backend = MakeCpuBackend();
  TS_ASSIGN_OR_RETURN(const Compute compute, ChooseCompute(options.precision, *backend));
  TS_ASSIGN_OR_RETURN(Tokenizer tokenizer, Tokenizer::Load(directory + "/tokenizer"));
  if (const absl::Status checked = CheckTokens(tokenizer, config.text_encoder); !checked.ok()) {
    return Annotate(checked, directory);
  }
  TS_ASSIGN_OR_RETURN(auto text_encoder,
                      (LoadNetwork<TextEncoder>(directory + "/text_encoder", "model", config.text_encoder)));
  TS_ASSIGN_OR_RETURN(auto unet, (LoadNetwork<UNet>(directory + "/unet", "diffusion_pytorch_model", config.unet)));
  TS_ASSIGN_OR_RETURN(auto vae,
                      (LoadNetwork<VaeDecoder>(directory + "/vae", "diffusion_pytorch_model", config.vae)));

  std::unique_ptr<Impl> impl(new Impl{.config = config,
                                      .compute = compute,
                                      .tokenizer = std::move(tokenizer),
                                      .text_encoder = std::move(text_encoder),
                                      .unet = std::move(unet),
                                      .vae = std::move(vae),
                                      .backend = std::move(backend)});
  TS_ASSIGN_OR_RETURN(impl->hash, HashModel(directory, *impl));
  impl->render_class =
      absl::StrCat(impl->backend->name(), "/engine-", kEngineVersion, "/",
                   compute == Compute::kBf16 ? "bf16" : "fp32", "/", impl->hash.substr(0, 12));
  return std::shared_ptr<const Model>(new Model(std::move(impl)));
}

Model::Model(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Model::~Model() = default;

const std::string& Model::hash() const { return impl_->hash; }
const std::string& Model::render_class() const { return impl_->render_class; }
int Model::size_multiple() const { return impl_->config.size_multiple(); }

}  // namespace tiltshift::engine
