#include "engine/tokenizer.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <utility>

#include "base/file.h"
#include "engine/json_text.h"
#include "engine/tokenizer_bpe.h"
#include "engine/tokenizer_json.h"
#include "engine/tokenizer_text.h"
#include "nlohmann/json.hpp"

namespace tiltshift::engine {
namespace {

using nlohmann::json;

constexpr int kDefaultLength = 77;
constexpr int kMaxLength = 1 << 16;
constexpr size_t kMaxAddedTokens = 256;
constexpr size_t kMaxPromptBytes = size_t{1} << 20;
constexpr char kStart[] = "<|startoftext|>", kEnd[] = "<|endoftext|>";

// A token that is found in the text whole, before words are split: the special ones and what
// added_tokens_decoder lists.
struct AddedToken {
  std::string text;
  int32_t id = 0;
  bool normalized = false;  // looked for in the normalized text, else in the prompt as written
};

// What the two config files say of one token: a string, or an object with `content` and flags.
struct TokenSpec {
  std::string content;
  bool normalized = false;
};

absl::StatusOr<TokenSpec> ReadTokenSpec(const json& value, const std::string& what) {
  if (value.is_string()) return TokenSpec{value.get<std::string>(), false};
  const auto flag = [&](const char* name) {
    const auto at = value.find(name);
    return at != value.end() && *at == json(true);
  };
  if (!value.is_object() || !value.contains("content") || !value["content"].is_string()) {
    return absl::DataLossError(what + " is neither a string nor an object with content");
  }
  for (const char* name : {"lstrip", "rstrip", "single_word"}) {
    if (flag(name))
      return absl::UnimplementedError(absl::StrCat(what, ": ", name, " is not implemented"));
  }
  return TokenSpec{value["content"].get<std::string>(), flag("normalized")};
}

absl::StatusOr<int> ReadLength(const json& config, const std::string& file) {
  const auto at = config.find("model_max_length");
  if (at == config.end() || at->is_null()) return kDefaultLength;
  if (!at->is_number() || at->get<double>() < 3) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": model_max_length must be a number of at least 3"));
  }
  // transformers writes 1e30 for "no limit".
  return at->get<double>() > kMaxLength ? kDefaultLength : at->get<int>();
}

// What the tokens and their ids come from, and what errors call it.
struct Sources {
  std::string vocabulary_file, merges_file, added_file;
  Vocabulary vocabulary;
  std::string merges;
};

}  // namespace

struct Tokenizer::Impl {
  BytePairEncoder encoder;
  std::vector<AddedToken> added;
  int32_t bos = 0, eos = 0, pad = 0;
  int vocab_size = 0;
  int length = kDefaultLength;

  absl::Status ReadSpecialTokens(const json& config, const json& special, const Sources& from,
                                 const std::string& config_file, int32_t* unknown);
  void EncodeText(std::string_view text, bool normalized, std::vector<int32_t>& ids) const;
};

// transformers' order: added_tokens_decoder has the last word on flags; without it
// special_tokens_map.json overrides the config, and of two specifications of one token the later
// one counts.
absl::Status Tokenizer::Impl::ReadSpecialTokens(const json& config, const json& special,
                                                const Sources& from,
                                                const std::string& config_file, int32_t* unknown) {
  const auto add = [&](const TokenSpec& spec, bool override_flags) -> absl::StatusOr<int32_t> {
    const auto id = from.vocabulary.find(spec.content);
    if (spec.content.empty() || id == from.vocabulary.end()) {
      return absl::DataLossError(absl::StrCat(from.vocabulary_file, ": no token ",
                                              Quoted(spec.content),
                                              ", which the tokenizer's config names"));
    }
    const std::string text = spec.normalized ? NormalizePrompt(spec.content) : spec.content;
    const auto old = std::find_if(added.begin(), added.end(),
                                  [&](const AddedToken& t) { return t.id == id->second; });
    if (old == added.end()) {
      added.push_back({text, id->second, spec.normalized});
    } else if (override_flags) {
      *old = {text, id->second, spec.normalized};
    }
    return id->second;
  };

  const auto decoder = config.find("added_tokens_decoder");
  const bool decoded = decoder != config.end() && decoder->is_object();
  if (decoded) {
    if (decoder->size() > kMaxAddedTokens) {
      return absl::UnimplementedError(
          absl::StrCat(from.added_file, ": more than ", kMaxAddedTokens, " added tokens"));
    }
    for (const auto& [id, value] : decoder->items()) {
      TS_ASSIGN_OR_RETURN(const TokenSpec spec,
                          ReadTokenSpec(value, from.added_file + ": added token"));
      TS_RETURN_IF_ERROR(add(spec, true).status());
    }
  }
  const struct {
    const char* name;
    const char* missing;
    int32_t* id;
  } roles[] = {{"bos_token", kStart, &bos},
               {"eos_token", kEnd, &eos},
               {"unk_token", kEnd, unknown},
               {"pad_token", kEnd, &pad}};
  for (const auto& [name, missing, id] : roles) {
    const json& source = !decoded && special.contains(name) ? special : config;
    TokenSpec spec{missing, false};
    if (source.contains(name) && !source[name].is_null()) {
      TS_ASSIGN_OR_RETURN(spec, ReadTokenSpec(source[name], absl::StrCat(config_file, ": ", name)));
    }
    TS_ASSIGN_OR_RETURN(*id, add(spec, !decoded));
  }
  return absl::OkStatus();
}

// Cuts out the added tokens of that kind, leftmost first and the longest of them; what is between
// goes on to the next kind, and then to the words.
void Tokenizer::Impl::EncodeText(std::string_view text, bool normalized,
                                 std::vector<int32_t>& ids) const {
  const auto encode_plain = [&](std::string_view plain) {
    if (plain.empty()) return;
    if (!normalized) return EncodeText(NormalizePrompt(plain), true, ids);
    for (std::string_view word : SplitWords(plain)) encoder.Encode(word, ids);
  };
  size_t plain_from = 0;
  for (size_t at = 0; at < text.size();) {
    const AddedToken* longest = nullptr;
    for (const AddedToken& token : added) {
      if (token.normalized != normalized || !text.substr(at).starts_with(token.text)) continue;
      if (longest == nullptr || token.text.size() > longest->text.size()) longest = &token;
    }
    if (longest == nullptr) {
      ++at;
      continue;
    }
    encode_plain(text.substr(plain_from, at - plain_from));
    ids.push_back(longest->id);
    at += longest->text.size();
    plain_from = at;
  }
  encode_plain(text.substr(plain_from));
}

std::vector<std::string> Tokenizer::FilesIn(const std::string& folder) {
  const auto is_there = [&](const char* name) {
    std::error_code ignored;
    return std::filesystem::exists(absl::StrCat(folder, "/", name), ignored);
  };
  std::vector<std::string> names = {"vocab.json", "merges.txt"};
  if (!(is_there("vocab.json") && is_there("merges.txt")) && is_there("tokenizer.json"))
    names = {"tokenizer.json"};
  for (const char* name : {"tokenizer_config.json", "special_tokens_map.json"}) {
    if (is_there(name)) names.emplace_back(name);
  }
  return names;
}

absl::StatusOr<Tokenizer> Tokenizer::Load(const std::string& folder) {
  constexpr size_t kMaxBytes = size_t{64} << 20;
  TokenizerFiles files;
  const std::map<std::string, std::string*> text_of = {
      {"vocab.json", &files.vocab},
      {"merges.txt", &files.merges},
      {"tokenizer.json", &files.whole},
      {"tokenizer_config.json", &files.config},
      {"special_tokens_map.json", &files.special_tokens}};
  for (const std::string& name : FilesIn(folder)) {
    TS_ASSIGN_OR_RETURN(*text_of.at(name), ReadFile(absl::StrCat(folder, "/", name), kMaxBytes));
  }
  return Parse(files, folder);
}

absl::StatusOr<Tokenizer> Tokenizer::Parse(const TokenizerFiles& files, const std::string& where) {
  const std::string config_file = where + "/tokenizer_config.json";
  json config = json::object(), special = json::object();
  if (!files.config.empty()) {
    TS_ASSIGN_OR_RETURN(config, ParseJsonObject(files.config, config_file));
  }
  if (!files.special_tokens.empty()) {
    TS_ASSIGN_OR_RETURN(special,
                        ParseJsonObject(files.special_tokens, where + "/special_tokens_map.json"));
  }
  Sources from{.vocabulary_file = where + "/vocab.json",
               .merges_file = where + "/merges.txt",
               .added_file = config_file,
               .merges = files.merges};
  if (files.whole.empty()) {
    TS_ASSIGN_OR_RETURN(const json vocabulary, ParseJsonObject(files.vocab, from.vocabulary_file));
    TS_ASSIGN_OR_RETURN(from.vocabulary, ReadVocabulary(vocabulary, from.vocabulary_file));
  } else {
    from.vocabulary_file = from.merges_file = from.added_file = where + "/tokenizer.json";
    TS_ASSIGN_OR_RETURN(TokenizerJson whole, ParseTokenizerJson(files.whole, from.merges_file));
    from.vocabulary = std::move(whole.vocabulary);
    from.merges = std::move(whole.merges);
    config["added_tokens_decoder"] = std::move(whole.added);
  }
  auto impl = std::make_unique<Impl>();
  TS_ASSIGN_OR_RETURN(impl->length, ReadLength(config, config_file));
  int32_t unknown = 0;
  TS_RETURN_IF_ERROR(impl->ReadSpecialTokens(config, special, from, config_file, &unknown));
  TS_ASSIGN_OR_RETURN(impl->encoder, BytePairEncoder::Parse(from.vocabulary, from.merges, unknown,
                                                            from.merges_file));
  for (const auto& [token, id] : from.vocabulary)
    impl->vocab_size = std::max(impl->vocab_size, id + 1);
  return Tokenizer(std::move(impl));
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::EncodeAll(std::string_view text) const {
  if (!IsUtf8(text))
    return absl::InvalidArgumentError(absl::StrCat("the prompt ", Quoted(text), " is not UTF-8"));
  if (text.size() > kMaxPromptBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the prompt has ", text.size(), " bytes; ", kMaxPromptBytes, " are allowed"));
  }
  std::vector<int32_t> ids;
  impl_->EncodeText(text, false, ids);
  return ids;
}

absl::StatusOr<Tokens> Tokenizer::Encode(std::string_view text) const {
  TS_ASSIGN_OR_RETURN(std::vector<int32_t> ids, EncodeAll(text));
  const size_t room = static_cast<size_t>(impl_->length - 2);
  Tokens tokens;
  tokens.dropped = static_cast<int>(ids.size() - std::min(ids.size(), room));
  ids.resize(ids.size() - tokens.dropped);
  tokens.used = static_cast<int>(ids.size()) + 2;
  tokens.ids.push_back(impl_->bos);
  tokens.ids.insert(tokens.ids.end(), ids.begin(), ids.end());
  tokens.ids.push_back(impl_->eos);
  tokens.ids.resize(impl_->length, impl_->pad);
  return tokens;
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

int Tokenizer::length() const { return impl_->length; }
int Tokenizer::vocab_size() const { return impl_->vocab_size; }
int32_t Tokenizer::bos_id() const { return impl_->bos; }
int32_t Tokenizer::eos_id() const { return impl_->eos; }
int32_t Tokenizer::pad_id() const { return impl_->pad; }

}  // namespace tiltshift::engine
