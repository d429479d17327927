// tokenizer.json, the one file that transformers 5 saves in place of vocab.json, merges.txt and
// special_tokens_map.json: the format of the `tokenizers` library, whose parts say what becomes of
// a text. Only CLIP's parts are taken; what asks for others is refused by name.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "engine/tokenizer_bpe.h"
#include "nlohmann/json.hpp"

namespace tiltshift::engine {

struct TokenizerJson {
  Vocabulary vocabulary;
  std::string merges;    // as merges.txt has them: "left right" a line
  nlohmann::json added;  // as tokenizer_config.json's added_tokens_decoder: {"id": {content, flags}}
};

// DataLoss: damaged. Unimplemented: another kind of tokenizer; names the field.
absl::StatusOr<TokenizerJson> ParseTokenizerJson(std::string_view text, const std::string& file);

// {"token": id}, as vocab.json has it. DataLoss names the token.
absl::StatusOr<Vocabulary> ReadVocabulary(const nlohmann::json& object, const std::string& file);

}  // namespace tiltshift::engine
