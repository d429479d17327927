// What a prompt says, as tokens in chunks.
#pragma once

#include <vector>

#include "base/prompt_weights.h"
#include "engine/tokenizer.h"

namespace tiltshift::engine {

// Tokens of whole chunks, each as the tokenizer gives a short prompt: BOS, up to length - 2 tokens,
// EOS, padding.
struct PromptTokens {
  std::vector<int32_t> ids;    // [chunks * length]
  std::vector<float> weights;  // [chunks * length], 1 but for what a prompt says
  bool operator==(const PromptTokens&) const = default;
};

// Cuts a prompt of any length into chunks; at least one. A piece is tokenized alone, so that a
// weight's border is a word's. InvalidArgument: not UTF-8, or more than kMaxChunks.
constexpr int kMaxChunks = 32;
absl::StatusOr<PromptTokens> TokenizePrompt(const Tokenizer& tokenizer,
                                            const std::vector<PromptPiece>& pieces);

// Appends chunks without text until there are `chunks`.
void PadToChunks(const Tokenizer& tokenizer, int chunks, PromptTokens* tokens);

}  // namespace tiltshift::engine
