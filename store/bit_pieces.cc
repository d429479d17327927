#include "store/bit_pieces.h"

#include <algorithm>

namespace tiltshift::store {
namespace {

constexpr uint64_t kLong = 8'192;    // bits: what is longer is set as whole bytes
constexpr uint64_t kWindow = 2'048;  // bytes of a mask, at most; the functions' kWindow
constexpr uint64_t kApart = 64;      // bytes without a bit that end a mask

struct Span {
  uint64_t first, end;
};

// Sorted, and what touches or overlaps made one.
std::vector<Span> Joined(const std::vector<v1::VariantRange>& ranges) {
  std::vector<Span> spans;
  spans.reserve(ranges.size());
  for (const auto& range : ranges) {
    if (range.count() > 0) spans.push_back({range.first(), range.first() + range.count()});
  }
  const auto before = [](const Span& a, const Span& b) { return a.first < b.first; };
  if (!std::is_sorted(spans.begin(), spans.end(), before))
    std::sort(spans.begin(), spans.end(), before);
  size_t kept = 0;
  for (const Span& span : spans) {
    if (kept > 0 && span.first <= spans[kept - 1].end) {
      spans[kept - 1].end = std::max(spans[kept - 1].end, span.end);
    } else {
      spans[kept++] = span;
    }
  }
  spans.resize(kept);
  return spans;
}

// Sets bits of a piece that are beyond those it has.
void AddToMask(Span bits, std::vector<BitPiece>& pieces) {
  while (bits.first < bits.end) {
    const uint64_t byte = bits.first / 8;
    if (pieces.empty() || pieces.back().mask.empty() || byte > pieces.back().to + kApart ||
        byte - pieces.back().from >= kWindow) {
      pieces.push_back({byte, byte, std::string(1, '\0')});
    }
    BitPiece& piece = pieces.back();
    const uint64_t end = std::min(bits.end, 8 * (piece.from + kWindow));
    piece.to = (end - 1) / 8;
    piece.mask.resize(piece.to - piece.from + 1);
    for (; bits.first < end; ++bits.first)
      piece.mask[bits.first / 8 - piece.from] |= static_cast<char>(128 >> bits.first % 8);
  }
}

}  // namespace

std::vector<BitPiece> BitPieces(const std::vector<v1::VariantRange>& ranges) {
  std::vector<BitPiece> pieces;
  for (const Span& span : Joined(ranges)) {
    if (span.end - span.first < kLong) {
      AddToMask(span, pieces);
      continue;
    }
    const uint64_t from = (span.first + 7) / 8, end = span.end / 8;
    AddToMask({span.first, 8 * from}, pieces);
    pieces.push_back({from, end - 1, ""});
    AddToMask({8 * end, span.end}, pieces);
  }
  return pieces;
}

}  // namespace tiltshift::store
