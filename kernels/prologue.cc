#include "kernels/conv.h"

namespace tiltshift::kernels {
namespace {

// An H100, computed. A number changed: two of the special functions that a multiprocessor makes 16
// of a cycle, and some ten of other instructions, 128 a cycle, at 132 multiprocessors of 1.75 GHz;
// the products do not hide them, as a warp waits for its tile. A norm's last launch: the number
// read and written, at 3.35 TB/s, and the launch in a graph (docs/performance.md).
constexpr double kChangeSeconds = 5 / 3.0e13, kSiluSeconds = 2 / 3.7e12 + 5 / 3.0e13;
constexpr double kPassSeconds = 4 / 3.35e12, kLaunchSeconds = 2.5e-6;
constexpr int kTileColumns = 128;

}  // namespace

bool PrologueGains(const ConvShape& s, bool silu) {
  const double numbers = static_cast<double>(s.batch) * s.height * s.width * s.channels;
  // Every tap of every tile of columns changes what it reads.
  const double read = static_cast<double>(s.batch) * s.out_height * s.out_width * s.channels *
                      s.kernel * s.kernel * ((s.out_channels + kTileColumns - 1) / kTileColumns);
  const double change = kChangeSeconds + (silu ? kSiluSeconds : 0);
  return read * change < numbers * kPassSeconds + kLaunchSeconds;
}

}  // namespace tiltshift::kernels
