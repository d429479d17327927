// Byte-level byte-pair encoding (Sennrich et al. 2016; Radford et al. 2019): a word's bytes, joined
// pair by pair in the order in which the merges were learned.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/status.h"

namespace tiltshift::engine {

using Vocabulary = std::unordered_map<std::string, int32_t>;

class BytePairEncoder {
 public:
  // `merges` is merges.txt: "left right" a line, earlier lines first; `unknown_id` stands for a
  // byte that the vocabulary lacks. DataLoss names the line.
  static absl::StatusOr<BytePairEncoder> Parse(const Vocabulary& vocabulary,
                                               std::string_view merges, int32_t unknown_id,
                                               const std::string& file);

  // Appends the word's tokens; its last byte carries "</w>". O(n log n) in its bytes.
  void Encode(std::string_view word, std::vector<int32_t>& ids) const;

 private:
  struct Merge {
    int32_t rank;
    int32_t joined;
  };
  static uint64_t Pair(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }

  std::array<int32_t, 256> byte_ids_;
  std::array<int32_t, 256> last_byte_ids_;
  std::unordered_map<uint64_t, Merge> merges_;
};

}  // namespace tiltshift::engine
