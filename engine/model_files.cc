#include "engine/model_files.h"

#include <filesystem>
#include <optional>
#include <utility>

#include "base/file.h"
#include "base/hash.h"
#include "engine/checkpoint.h"

namespace tiltshift::engine {
namespace {

// What the hash is taken over beside the weights; the optional ones where they are there.
constexpr const char* kTextFiles[] = {"model_index.json",
                                      "scheduler/scheduler_config.json",
                                      "text_encoder/config.json",
                                      "text_encoder_2/config.json",
                                      "tokenizer/merges.txt",
                                      "tokenizer/special_tokens_map.json",
                                      "tokenizer/tokenizer_config.json",
                                      "tokenizer/vocab.json",
                                      "tokenizer_2/merges.txt",
                                      "tokenizer_2/special_tokens_map.json",
                                      "tokenizer_2/tokenizer_config.json",
                                      "tokenizer_2/vocab.json",
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
  const auto update = [&](const std::string& name, const Weights& weights) {
    for (const MappedFile& file : weights.files()) {
      Update(hash, name, file.bytes());
      MappedFile::Release(file.bytes());
    }
  };
  if (Checkpoint::IsThere(directory)) {  // each part maps the one file
    update("checkpoint", files.unet);
    return hash.Hex();
  }
  for (size_t i = 0; i < files.texts.size(); ++i) {
    update("text_encoder" + files.config.index.text_suffixes[i], files.texts[i].weights);
  }
  update("unet", files.unet);
  update("vae", files.vae);
  return hash.Hex();
}

// Where a model's weights lie: in the folders of its parts, or all in one checkpoint.
struct Source {
  const std::string& directory;
  std::optional<Checkpoint> checkpoint;

  absl::StatusOr<Weights> Open(CheckpointPart part, const std::string& folder, const char* stem) const {
    if (checkpoint) return checkpoint->Part(part);
    return Weights::Open(directory + "/" + folder, stem);
  }
};

absl::StatusOr<ModelFiles::Text> OpenText(const Source& source, const std::string& suffix,
                                          const TextEncoderConfig& config) {
  const std::string& directory = source.directory;
  const std::string encoder = "text_encoder" + suffix, folder = "tokenizer" + suffix;
  TS_ASSIGN_OR_RETURN(Tokenizer tokenizer, Tokenizer::Load(directory + "/" + folder));
  if (tokenizer.length() > config.max_positions) {
    return absl::InvalidArgumentError(absl::StrCat(
        directory, ": ", folder, "/tokenizer_config.json: model_max_length is ", tokenizer.length(),
        ", ", encoder, "/config.json: max_position_embeddings is ", config.max_positions));
  }
  if (tokenizer.vocab_size() > config.vocab_size) {
    return absl::InvalidArgumentError(absl::StrCat(
        directory, ": ", folder, "/vocab.json has ids up to ", tokenizer.vocab_size() - 1, ", ",
        encoder, "/config.json: vocab_size is ", config.vocab_size));
  }
  TS_ASSIGN_OR_RETURN(Weights weights,
                      source.Open(suffix.empty() ? CheckpointPart::kText : CheckpointPart::kText2, encoder, "model"));
  return ModelFiles::Text{std::move(tokenizer), std::move(weights)};
}

// Embeddings of several encoders stand side by side, so a prompt must have as many tokens in each.
absl::Status CheckLengths(const std::string& directory, const ModelFiles& files) {
  for (const ModelFiles::Text& text : files.texts) {
    if (text.tokenizer.length() == files.texts[0].tokenizer.length()) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        directory, ": the tokenizers' model_max_length differ: ", files.texts[0].tokenizer.length(),
        " and ", text.tokenizer.length()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelFiles> OpenModelFiles(const std::string& directory) {
  if (!std::filesystem::is_directory(directory)) {
    return absl::NotFoundError(absl::StrCat("no model directory ", directory,
                                            "; a model is a folder with a model_index.json or a ", kCheckpointFile));
  }
  Source source{directory, std::nullopt};
  if (Checkpoint::IsThere(directory)) {
    TS_ASSIGN_OR_RETURN(source.checkpoint, Checkpoint::Open(directory));
  }
  TS_ASSIGN_OR_RETURN(ModelConfig config, LoadModelConfig(directory, [&](const std::string& name) {
                        return source.checkpoint ? source.checkpoint->Config(name) : std::nullopt;
                      }));
  std::vector<ModelFiles::Text> texts;
  for (size_t i = 0; i < config.text_encoders.size(); ++i) {
    TS_ASSIGN_OR_RETURN(ModelFiles::Text text, OpenText(source, config.index.text_suffixes[i],
                                                        config.text_encoders[i]));
    texts.push_back(std::move(text));
  }
  const char* const stem = "diffusion_pytorch_model";
  TS_ASSIGN_OR_RETURN(Weights unet, source.Open(CheckpointPart::kUnet, "unet", stem));
  TS_ASSIGN_OR_RETURN(Weights vae, source.Open(CheckpointPart::kVae, "vae", stem));
  ModelFiles files{std::move(config), std::move(texts), std::move(unet), std::move(vae), {}, ""};
  TS_RETURN_IF_ERROR(CheckLengths(directory, files));
  TS_ASSIGN_OR_RETURN(files.hash, HashOf(directory, files));
  return files;
}

}  // namespace tiltshift::engine
