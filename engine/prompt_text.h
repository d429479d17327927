// What a prompt says before it is tokens: emphasis, and chunks.
//
// The grammar is that of AUTOMATIC1111's web UI, which people's prompts are written in:
//   (text)       each of its tokens weighs 1.1 times as much       ((text)) 1.21
//   [text]       1/1.1 times
//   (text:1.3)   1.3 times
//   \( \) \[ \] \\ the characters themselves
// Brackets nest, and their weights multiply. A bracket without its partner is an ordinary
// character, and so is a colon that no number and closing bracket follow.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "engine/tokenizer.h"

namespace tiltshift::engine {

struct PromptPiece {
  std::string text;
  float weight = 1;
  bool operator==(const PromptPiece&) const = default;
};

// The prompt's pieces, neighbours of different weights; none is empty. InvalidArgument: a weight
// outside -10 to 10, named, or more than 64 KB.
absl::StatusOr<std::vector<PromptPiece>> ParsePrompt(std::string_view text);

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
