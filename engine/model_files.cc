#include "engine/model_files.h"

#include <filesystem>
#include <utility>

#include "base/file.h"
#include "base/hash.h"

namespace tiltshift::engine {
namespace {

// What the hash is taken over beside the weights; the optional ones where they are there.
constexpr const char* kTextFiles[] = {"model_index.json",
                                      "scheduler/scheduler_config.json",
                                      "text_encoder/config.json",
                                      "tokenizer/merges.txt",
                                      "tokenizer/special_tokens_map.json",
                                      "tokenizer/tokenizer_config.json",
                                      "tokenizer/vocab.json",
                                      "unet/config.json",
                                      "vae/config.json"};

void Update(Sha256& hash, const std::string& name, std::string_view bytes) {
  hash.Update(absl::StrCat(name, "\n", bytes.size(), "\n"));
  hash.Update(bytes);
}

absl::StatusOr<std::string> HashOf(const std::string& directory, const ModelFiles& files) {
  Sha256 hash;
  for (const char* name : kTextFiles) {
    const std::string path = absl::StrCat(directory, "/", name);
    if (!std::filesystem::exists(path)) continue;
    TS_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
    Update(hash, name, text);
  }
  const std::pair<const char*, const Weights*> parts[] = {
      {"text_encoder", &files.text_encoder}, {"unet", &files.unet}, {"vae", &files.vae}};
  for (const auto& [name, weights] : parts) {
    for (const MappedFile& file : weights->files()) Update(hash, name, file.bytes());
  }
  return hash.Hex();
}

absl::Status CheckTokenizer(const std::string& directory, const Tokenizer& tokenizer,
                            const TextEncoderConfig& text) {
  if (tokenizer.length() > text.max_positions) {
    return absl::InvalidArgumentError(absl::StrCat(
        directory, ": tokenizer/tokenizer_config.json: model_max_length is ", tokenizer.length(),
        ", text_encoder/config.json: max_position_embeddings is ", text.max_positions));
  }
  if (tokenizer.vocab_size() > text.vocab_size) {
    return absl::InvalidArgumentError(
        absl::StrCat(directory, ": tokenizer/vocab.json has ids up to ", tokenizer.vocab_size() - 1,
                     ", text_encoder/config.json: vocab_size is ", text.vocab_size));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelFiles> OpenModelFiles(const std::string& directory) {
  if (!std::filesystem::is_directory(directory)) {
    return absl::NotFoundError(absl::StrCat("no model directory ", directory,
                                            "; a model is a folder with a model_index.json"));
  }
  TS_ASSIGN_OR_RETURN(ModelConfig config, LoadModelConfig(directory));
  TS_ASSIGN_OR_RETURN(Tokenizer tokenizer, Tokenizer::Load(directory + "/tokenizer"));
  TS_RETURN_IF_ERROR(CheckTokenizer(directory, tokenizer, config.text_encoder));
  TS_ASSIGN_OR_RETURN(Weights text_encoder, Weights::Open(directory + "/text_encoder", "model"));
  TS_ASSIGN_OR_RETURN(Weights unet, Weights::Open(directory + "/unet", "diffusion_pytorch_model"));
  TS_ASSIGN_OR_RETURN(Weights vae, Weights::Open(directory + "/vae", "diffusion_pytorch_model"));
  ModelFiles files{std::move(config), std::move(tokenizer), std::move(text_encoder),
                   std::move(unet),   std::move(vae),       ""};
  TS_ASSIGN_OR_RETURN(files.hash, HashOf(directory, files));
  return files;
}

}  // namespace tiltshift::engine
