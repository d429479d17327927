#include "engine/tokenizer_json.h"

#include <utility>

#include "engine/json_text.h"

namespace tiltshift::engine {
namespace {

using nlohmann::json;

constexpr int32_t kMaxId = 1 << 22;

// What CLIP's tokenizers say there. transformers before 5 leave the markers out of the words.
constexpr char kNormalizer[] = R"({"type":"Sequence","normalizers":[{"type":"NFC"},
    {"type":"Replace","pattern":{"Regex":"\\s+"},"content":" "},{"type":"Lowercase"}]})";
constexpr char kWords[] = R"('s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+)";
constexpr char kMarkers[] = R"(<\|startoftext\|>|<\|endoftext\|>|)";

json PreTokenizer(const std::string& words) {
  return {{"type", "Sequence"},
          {"pretokenizers",
           {{{"type", "Split"},
             {"pattern", {{"Regex", words}}},
             {"behavior", "Removed"},
             {"invert", true}},
            {{"type", "ByteLevel"},
             {"add_prefix_space", false},
             {"trim_offsets", true},
             {"use_regex", true}}}}};
}

// The field, or null.
const json& Field(const json& object, const char* name) {
  static const json kNull;
  const auto at = object.find(name);
  return at == object.end() ? kNull : *at;
}

absl::Status CheckIsClips(const json& whole, const std::string& file) {
  const auto other = [&](const std::string& field) {
    return absl::UnimplementedError(
        absl::StrCat(file, ": ", field, " is not that of a CLIP tokenizer"));
  };
  if (Field(whole, "normalizer") != json::parse(kNormalizer)) return other("normalizer");
  const json& before = Field(whole, "pre_tokenizer");
  if (before != PreTokenizer(kWords) && before != PreTokenizer(absl::StrCat(kMarkers, kWords)))
    return other("pre_tokenizer");
  const json& model = Field(whole, "model");
  if (!model.is_object() || Field(model, "type") != json("BPE")) return other("model.type");
  if (Field(model, "end_of_word_suffix") != json("</w>")) return other("model.end_of_word_suffix");
  const json& prefix = Field(model, "continuing_subword_prefix");
  if (!prefix.is_null() && prefix != json("")) return other("model.continuing_subword_prefix");
  for (const char* flag : {"byte_fallback", "ignore_merges", "fuse_unk"}) {
    if (Field(model, flag) == json(true)) return other(absl::StrCat("model.", flag));
  }
  return absl::OkStatus();
}

// A merge is ["left", "right"], or "left right" in older files.
absl::StatusOr<std::string> ReadMerges(const json& merges, const std::string& file) {
  if (!merges.is_array()) return absl::DataLossError(file + ": model.merges is not an array");
  const auto is_token = [](const json& word) {
    return word.is_string() &&
           word.get_ref<const std::string&>().find_first_of(" \r\n") == std::string::npos;
  };
  std::string lines;
  for (const json& merge : merges) {
    if (merge.is_array() && merge.size() == 2 && is_token(merge[0]) && is_token(merge[1])) {
      absl::StrAppend(&lines, merge[0].get_ref<const std::string&>(), " ",
                      merge[1].get_ref<const std::string&>(), "\n");
    } else if (merge.is_string() &&
               merge.get_ref<const std::string&>().find_first_of("\r\n") == std::string::npos) {
      absl::StrAppend(&lines, merge.get_ref<const std::string&>(), "\n");
    } else {
      return absl::DataLossError(file + ": model.merges: a merge is neither two tokens nor a string");
    }
  }
  return lines;
}

absl::StatusOr<json> ReadAdded(const json& tokens, const std::string& file) {
  json added = json::object();
  if (tokens.is_null()) return added;
  if (!tokens.is_array()) return absl::DataLossError(file + ": added_tokens is not an array");
  for (const json& token : tokens) {
    if (!token.is_object() || !Field(token, "id").is_number_unsigned())
      return absl::DataLossError(file + ": added_tokens: one has no id");
    added[absl::StrCat(token["id"].get<uint64_t>())] = token;
  }
  return added;
}

}  // namespace

absl::StatusOr<Vocabulary> ReadVocabulary(const json& object, const std::string& file) {
  Vocabulary vocabulary;
  for (const auto& [token, id] : object.items()) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= kMaxId) {
      return absl::DataLossError(absl::StrCat(file, ": the id of ", Quoted(token),
                                              " is not a whole number below ", kMaxId));
    }
    vocabulary[token] = id.get<int32_t>();
  }
  return vocabulary;
}

absl::StatusOr<TokenizerJson> ParseTokenizerJson(std::string_view text, const std::string& file) {
  TS_ASSIGN_OR_RETURN(const json whole, ParseJsonObject(text, file));
  TS_RETURN_IF_ERROR(CheckIsClips(whole, file));
  const json& model = whole["model"];
  if (!Field(model, "vocab").is_object())
    return absl::DataLossError(file + ": model.vocab is not an object");
  TokenizerJson parts;
  TS_ASSIGN_OR_RETURN(parts.vocabulary, ReadVocabulary(model["vocab"], file));
  TS_ASSIGN_OR_RETURN(parts.merges, ReadMerges(Field(model, "merges"), file));
  TS_ASSIGN_OR_RETURN(parts.added, ReadAdded(Field(whole, "added_tokens"), file));
  return parts;
}

}  // namespace tiltshift::engine
