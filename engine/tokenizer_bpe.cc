#include "engine/tokenizer_bpe.h"

#include <queue>

#include "engine/json_text.h"

namespace tiltshift::engine {
namespace {

constexpr char kWordEnd[] = "</w>";

// GPT-2's printable stand-in for each byte, in UTF-8: itself where Latin-1 prints it, else U+0100
// and up.
std::array<std::string, 256> MakeByteNames() {
  std::array<std::string, 256> names;
  int moved = 0;
  for (int byte = 0; byte < 256; ++byte) {
    const bool prints =
        (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    const int code = prints ? byte : 256 + moved++;
    if (code < 0x80) {
      names[byte] = static_cast<char>(code);
    } else {
      names[byte] = {static_cast<char>(0xc0 | code >> 6), static_cast<char>(0x80 | (code & 0x3f))};
    }
  }
  return names;
}

int32_t IdOr(const Vocabulary& vocabulary, const std::string& token, int32_t missing) {
  const auto at = vocabulary.find(token);
  return at == vocabulary.end() ? missing : at->second;
}

}  // namespace

absl::StatusOr<BytePairEncoder> BytePairEncoder::Parse(const Vocabulary& vocabulary,
                                                       std::string_view merges, int32_t unknown_id,
                                                       const std::string& file) {
  BytePairEncoder encoder;
  static const std::array<std::string, 256> names = MakeByteNames();
  for (int byte = 0; byte < 256; ++byte) {
    encoder.byte_ids_[byte] = IdOr(vocabulary, names[byte], unknown_id);
    encoder.last_byte_ids_[byte] = IdOr(vocabulary, names[byte] + kWordEnd, unknown_id);
  }
  int line_number = 0;
  int32_t rank = 0;
  while (!merges.empty()) {
    ++line_number;
    const size_t end = merges.find('\n');
    std::string_view line = merges.substr(0, end);
    merges.remove_prefix(end == merges.npos ? merges.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.starts_with("#version")) continue;

    const auto bad = [&](const std::string& what) {
      return absl::DataLossError(absl::StrCat(file, ": line ", line_number, ": ", what));
    };
    const size_t space = line.find(' ');
    if (space == line.npos || space == 0 || line.find(' ', space + 1) != line.npos ||
        space + 1 == line.size()) {
      return bad(absl::StrCat("a merge is two tokens with a space between, not ", Quoted(line)));
    }
    const std::string left(line.substr(0, space)), right(line.substr(space + 1));
    const int32_t ids[] = {IdOr(vocabulary, left, -1), IdOr(vocabulary, right, -1),
                           IdOr(vocabulary, left + right, -1)};
    if (ids[0] < 0 || ids[1] < 0)
      return bad(absl::StrCat("the vocabulary lacks a token of ", Quoted(line)));
    if (ids[2] < 0) return bad(absl::StrCat("the vocabulary lacks ", Quoted(left + right)));
    encoder.merges_[Pair(ids[0], ids[1])] = {rank++, ids[2]};
  }
  return encoder;
}

void BytePairEncoder::Encode(std::string_view word, std::vector<int32_t>& ids) const {
  // A list over the word's symbols: joining takes the right one out.
  struct Symbol {
    int32_t id;
    int previous, next;
    bool gone = false;
  };
  struct Candidate {
    Merge merge;
    int at;
    // The queue's top is the lowest rank, then the leftmost.
    bool operator<(const Candidate& other) const {
      return merge.rank != other.merge.rank ? merge.rank > other.merge.rank : at > other.at;
    }
  };
  const int n = static_cast<int>(word.size());
  std::vector<Symbol> symbols;
  symbols.reserve(word.size());
  for (int i = 0; i < n; ++i) {
    const auto byte = static_cast<uint8_t>(word[i]);
    symbols.push_back(
        {i + 1 < n ? byte_ids_[byte] : last_byte_ids_[byte], i - 1, i + 1 < n ? i + 1 : -1});
  }
  std::priority_queue<Candidate> queue;
  const auto merge_at = [&](int at) -> const Merge* {
    if (at < 0 || symbols[at].next < 0) return nullptr;
    const auto found = merges_.find(Pair(symbols[at].id, symbols[symbols[at].next].id));
    return found == merges_.end() ? nullptr : &found->second;
  };
  const auto offer = [&](int at) {
    if (const Merge* merge = merge_at(at)) queue.push({*merge, at});
  };
  for (int i = 0; i < n; ++i) offer(i);

  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    if (symbols[top.at].gone) continue;
    const Merge* merge = merge_at(top.at);
    if (merge == nullptr || merge->joined != top.merge.joined)
      continue;  // a neighbour was joined meanwhile
    Symbol& left = symbols[top.at];
    Symbol& right = symbols[left.next];
    right.gone = true;
    left.id = merge->joined;
    left.next = right.next;
    if (left.next >= 0) symbols[left.next].previous = top.at;
    offer(left.previous);
    offer(top.at);
  }
  for (int at = 0; at >= 0 && n > 0; at = symbols[at].next) ids.push_back(symbols[at].id);
}

}  // namespace tiltshift::engine
