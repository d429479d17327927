#include "engine/model_files.h"

#include <filesystem>
#include <optional>
#include <utility>

#include "base/file.h"
#include "engine/checkpoint.h"
#include "engine/model_reading.h"
#include "engine/pack/model_identity.h"

namespace tiltshift::engine {
namespace {

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
        directory, ": ", folder, " has ids up to ", tokenizer.vocab_size() - 1, ", ",
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

absl::StatusOr<ModelFiles> OpenUnread(const std::string& directory, WeightCache* cache) {
  if (!std::filesystem::is_directory(directory)) {
    return absl::NotFoundError(absl::StrCat("no model directory ", directory,
                                            "; a model is a folder with a model_index.json or a ", kCheckpointFile));
  }
  std::string identity;
  if (cache != nullptr) identity = ModelIdentity(directory).value_or("");
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
  ModelFiles files{std::move(config), std::move(texts), std::move(unet), std::move(vae), {}, identity, ""};
  files.unet.SetPart("unet");
  files.vae.SetPart("vae");
  for (size_t i = 0; i < files.texts.size(); ++i)
    files.texts[i].weights.SetPart("text_encoder" + files.config.index.text_suffixes[i]);
  TS_RETURN_IF_ERROR(CheckLengths(directory, files));
  return files;
}

absl::StatusOr<ModelFiles> OpenModelFiles(const std::string& directory, WeightCache* cache) {
  TS_ASSIGN_OR_RETURN(ModelFiles files, OpenUnread(directory, cache));
  TS_ASSIGN_OR_RETURN(files.hash, ModelReading(directory, cache, files).Hash());
  return files;
}

}  // namespace tiltshift::engine
