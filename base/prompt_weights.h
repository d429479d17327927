// What a prompt says before it is tokens: which of its words weigh more, and which less.
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

namespace tiltshift {

struct PromptPiece {
  std::string text;
  float weight = 1;
  bool operator==(const PromptPiece&) const = default;
};

// The prompt's pieces, neighbours of different weights; none is empty. InvalidArgument: a weight
// outside -10 to 10, named, or more than 64 KB.
absl::StatusOr<std::vector<PromptPiece>> ParsePrompt(std::string_view text);

}  // namespace tiltshift
