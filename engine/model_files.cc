#include "engine/model_files.h"

#include <filesystem>
#include <list>
#include <optional>
#include <utility>

#include "base/file.h"
#include "engine/checkpoint.h"
#include "engine/finite.h"
#include "engine/model_hash.h"
#include "engine/pack/model_identity.h"

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

// Reads all of the model once: DataLoss also for a weight that is no number.
absl::StatusOr<std::string> HashOf(const std::string& directory, const ModelFiles& files) {
  FiniteSearch search;
  search.Add(files.unet);
  std::vector<HashedFile> hashed;
  std::list<std::string> texts;  // at addresses that stay
  for (const char* name : kTextFiles) {
    const std::string path = absl::StrCat(directory, "/", name);
    if (!std::filesystem::exists(path)) continue;
    TS_ASSIGN_OR_RETURN(texts.emplace_back(), ReadFile(path));
    hashed.push_back({name, texts.back()});
  }
  const auto add = [&](const std::string& name, const Weights& weights) {
    for (const MappedFile& file : weights.files()) hashed.push_back({name, file.bytes(), true});
  };
  if (Checkpoint::IsThere(directory)) {
    // Each part maps the one file; the UNet is most of it.
    add("checkpoint", files.unet);
    for (const ModelFiles::Text& text : files.texts) TS_RETURN_IF_ERROR(CheckFinite(text.weights));
    TS_RETURN_IF_ERROR(CheckFinite(files.vae));
  } else {
    for (const ModelFiles::Text& text : files.texts) {
      add(text.weights.part(), text.weights);
      search.Add(text.weights);
    }
    add("unet", files.unet);
    add("vae", files.vae);
    search.Add(files.vae);
  }
  std::string hash = HashModel(hashed, [&](std::string_view bytes) { search.Look(bytes); });
  TS_RETURN_IF_ERROR(search.status());
  return hash;
}

// What was opened is what the identity names where that is the same before and after.
absl::Status FindHash(const std::string& directory, WeightCache* cache, ModelFiles* files) {
  const auto still = [&] { return ModelIdentity(directory).value_or("") == files->identity; };
  if (!files->identity.empty()) {
    const auto known = cache->KnownHash(directory, files->identity);
    if (known && still()) {
      files->hash = *known;
      return absl::OkStatus();
    }
  }
  TS_ASSIGN_OR_RETURN(files->hash, HashOf(directory, *files));
  if (!files->identity.empty() && !still()) files->identity.clear();
  if (!files->identity.empty()) cache->RememberHash(directory, files->identity, files->hash);
  return absl::OkStatus();
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

absl::StatusOr<ModelFiles> OpenModelFiles(const std::string& directory, WeightCache* cache) {
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
  TS_RETURN_IF_ERROR(FindHash(directory, cache, &files));
  return files;
}

}  // namespace tiltshift::engine
