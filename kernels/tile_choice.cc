#include "kernels/tile_choice.h"

#include <algorithm>

#include "kernels/split.h"

namespace tiltshift::kernels {
namespace {

// Fitted to the table of docs/performance.md (H200): a multiprocessor makes its tiles one after the
// other, small ones at four fifths of the rate, and the slower the fewer there are to overlap;
// shares of k cost a launch, and four bytes a sum written and read.
constexpr int64_t kMultiprocessors = 132;
constexpr double kLargeTileRate = 2.65e12, kSmallTileRate = 2.12e12;  // operations a second
constexpr double kSharesSeconds = 3e-6, kSharesBytesPerSecond = 4e12;

int64_t RoundsOf(int64_t side, int64_t m, int64_t n, int splits) {
  const int64_t tiles = (m + side - 1) / side * ((n + side - 1) / side) * splits;
  return (tiles + kMultiprocessors - 1) / kMultiprocessors;
}

double LargeTileSeconds(int64_t m, int64_t n, int64_t k, int splits) {
  const auto rounds = static_cast<double>(RoundsOf(128, m, n, splits));
  return rounds * 2 * 128 * 128 * static_cast<double>(k) / splits / kLargeTileRate;
}

double SmallTileSeconds(int64_t m, int64_t n, int64_t k, int splits) {
  const auto rounds = static_cast<double>(RoundsOf(64, m, n, splits));
  return (rounds + 0.6 / rounds) * 2 * 64 * 64 * static_cast<double>(k) / splits / kSmallTileRate;
}

double SecondsOf(int64_t m, int64_t n, int64_t k, int splits) {
  const double product =
      std::min(LargeTileSeconds(m, n, k, splits), SmallTileSeconds(m, n, k, splits));
  if (splits == 1) return product;
  return product + kSharesSeconds +
         8.0 * static_cast<double>(m * n) * splits / kSharesBytesPerSecond;
}

}  // namespace

const char* NameOf(TileChoice choice) {
  switch (choice) {
    case TileChoice::kAuto:
      return "auto";
    case TileChoice::k64x64:
      return "64x64";
    case TileChoice::k64x64Deep:
      return "64x64x64";
    case TileChoice::k128x128:
      return "128x128x64";
  }
  return "unknown";
}

TileChoice ChooseTile(int64_t m, int64_t n, int64_t k, int splits) {
  constexpr int64_t kFewStages = 512;
  if (LargeTileSeconds(m, n, k, splits) < SmallTileSeconds(m, n, k, splits)) {
    return TileChoice::k128x128;
  }
  return k / splits < kFewStages ? TileChoice::k64x64 : TileChoice::k64x64Deep;
}

// For two samples (guidance), where it gains a tenth of the time: larger batches fill the card by
// themselves, and pay for the shares.
int ChooseSplit(int64_t rows, int64_t n, int64_t channels, int64_t k) {
  constexpr int64_t kShortest = 4 * kSplitUnit;
  constexpr int kMost = 6;
  constexpr double kGain = 1.1;
  if (channels % kSplitUnit != 0) return 1;
  const int64_t m = 2 * rows;
  int best = 1;
  double least = SecondsOf(m, n, k, 1) / kGain;
  for (int splits = 2; splits <= kMost && k / splits >= kShortest; ++splits) {
    const double seconds = SecondsOf(m, n, k, splits);
    if (seconds < least) {
      least = seconds;
      best = splits;
    }
  }
  return best;
}

}  // namespace tiltshift::kernels
