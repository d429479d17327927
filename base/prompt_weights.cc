#include "base/prompt_weights.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "absl/strings/escaping.h"

namespace tiltshift {
namespace {

constexpr double kRoundWeight = 1.1;
constexpr double kLargestWeight = 10;
constexpr size_t kMaxBytes = size_t{1} << 16;

struct Letter {
  char c;
  double weight = 1;
};

// ":1.3)" at the start of `text`: the number, and how long that is.
struct Number {
  double value;
  size_t length;
};
std::optional<Number> ReadWeight(std::string_view text) {
  size_t at = 1;
  const auto skip_spaces = [&] {
    while (at < text.size() && text[at] == ' ') ++at;
  };
  skip_spaces();
  if (at < text.size() && text[at] == '+') ++at;
  double value = 0;
  const auto [end, error] =
      std::from_chars(text.data() + std::min(at, text.size()), text.data() + text.size(), value,
                      std::chars_format::fixed);
  if (error != std::errc()) return std::nullopt;
  at = end - text.data();
  skip_spaces();
  if (at >= text.size() || text[at] != ')' || !std::isfinite(value)) return std::nullopt;
  return Number{value, at + 1};
}

bool IsEscape(std::string_view text) {
  return text.size() >= 2 && text[0] == '\\' &&
         std::string_view("()[]\\").find(text[1]) != text.npos;
}

// Which brackets have a partner, by their places in the prompt: a stack, in which a closing bracket
// takes the nearest open one of its kind and leaves what stands open inside of that without one.
std::vector<bool> PairedBrackets(std::string_view text) {
  std::vector<bool> paired(text.size(), false);
  std::vector<size_t> open;
  int round = 0, square = 0;  // of those that are open
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (IsEscape(text.substr(i))) {
      ++i;
    } else if (c == '(' || c == '[') {
      open.push_back(i);
      ++(c == '(' ? round : square);
    } else if ((c == ')' && round > 0) || (c == ']' && square > 0)) {
      const char partner = c == ')' ? '(' : '[';
      for (char closed = 0; closed != partner; open.pop_back()) {
        closed = text[open.back()];
        --(closed == '(' ? round : square);
        paired[open.back()] = closed == partner;
      }
      paired[i] = true;
    }
  }
  return paired;
}

std::vector<Letter> WeighLetters(std::string_view text) {
  const std::vector<bool> paired = PairedBrackets(text);
  std::vector<Letter> letters;
  struct Open {
    char bracket;
    size_t first;  // of the letters inside
  };
  std::vector<Open> open;
  const auto close = [&](double weight) {
    for (size_t i = open.back().first; i < letters.size(); ++i) letters[i].weight *= weight;
    open.pop_back();
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (IsEscape(text.substr(i))) {
      letters.push_back({text[++i]});
    } else if (paired[i] && (c == '(' || c == '[')) {
      open.push_back({c, letters.size()});
    } else if (paired[i]) {
      close(c == ')' ? kRoundWeight : 1 / kRoundWeight);
    } else {
      const bool may_weigh = c == ':' && !open.empty() && open.back().bracket == '(';
      const std::optional<Number> number = may_weigh ? ReadWeight(text.substr(i)) : std::nullopt;
      if (number) {
        close(number->value);
        i += number->length - 1;
      } else {
        letters.push_back({c});
      }
    }
  }
  return letters;
}

std::string Shown(const std::string& text) {
  constexpr size_t kShown = 80;
  return absl::StrCat(absl::CHexEscape(text.substr(0, kShown)), text.size() > kShown ? "..." : "");
}

}  // namespace

absl::StatusOr<std::vector<PromptPiece>> ParsePrompt(std::string_view text) {
  if (text.size() > kMaxBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the prompt has ", text.size(), " bytes; ", kMaxBytes, " are allowed"));
  }
  std::vector<PromptPiece> pieces;
  for (const Letter& letter : WeighLetters(text)) {
    const float weight = static_cast<float>(letter.weight);
    if (pieces.empty() || pieces.back().weight != weight) pieces.push_back({"", weight});
    pieces.back().text += letter.c;
  }
  for (const PromptPiece& piece : pieces) {
    if (std::abs(piece.weight) <= kLargestWeight) continue;
    return absl::InvalidArgumentError(absl::StrCat("the prompt weighs \"", Shown(piece.text),
                                                   "\" by ", piece.weight, "; weights must be -",
                                                   kLargestWeight, " to ", kLargestWeight));
  }
  return pieces;
}

}  // namespace tiltshift
