#include "engine/prompt_text.h"

#include <algorithm>

namespace tiltshift::engine {

absl::StatusOr<PromptTokens> TokenizePrompt(const Tokenizer& tokenizer,
                                            const std::vector<PromptPiece>& pieces) {
  std::vector<int32_t> ids;
  std::vector<float> weights;
  for (const PromptPiece& piece : pieces) {
    TS_ASSIGN_OR_RETURN(const std::vector<int32_t> more, tokenizer.EncodeAll(piece.text));
    ids.insert(ids.end(), more.begin(), more.end());
    weights.resize(ids.size(), piece.weight);
  }
  const size_t room = static_cast<size_t>(tokenizer.length() - 2);
  if (ids.size() > room * kMaxChunks) {
    return absl::InvalidArgumentError(absl::StrCat("the prompt has ", ids.size(), " tokens; ",
                                                   room * kMaxChunks, " are allowed"));
  }
  PromptTokens tokens;
  for (size_t first = 0; first == 0 || first < ids.size(); first += room) {
    PadToChunks(tokenizer, static_cast<int>(first / room) + 1, &tokens);
    const size_t count = std::min(room, ids.size() - first);
    const size_t at = tokens.ids.size() - tokenizer.length() + 1;
    std::copy_n(ids.begin() + first, count, tokens.ids.begin() + at);
    std::copy_n(weights.begin() + first, count, tokens.weights.begin() + at);
    tokens.ids[at + count] = tokenizer.eos_id();
  }
  return tokens;
}

void PadToChunks(const Tokenizer& tokenizer, int chunks, PromptTokens* tokens) {
  const size_t length = tokenizer.length();
  while (tokens->ids.size() < chunks * length) {
    const size_t at = tokens->ids.size();
    tokens->ids.resize(at + length, tokenizer.pad_id());
    tokens->ids[at] = tokenizer.bos_id();
    tokens->ids[at + 1] = tokenizer.eos_id();
    tokens->weights.resize(at + length, 1.0f);
  }
}

}  // namespace tiltshift::engine
