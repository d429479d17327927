// What the processor's own units give when nothing but arithmetic runs: the ceilings a bench holds
// figures against.
#pragma once

#include <cstddef>
#include <vector>

namespace tiltshift::engine {

// FLOP/s of `threads` threads at once, measured for a tenth of a second; zero where the unit is
// missing.
double PeakFp32(int threads);   // fused multiply-adds of the widest vectors, from registers
double PeakTiles(int threads);  // AMX products of bf16, from registers

// The same in a few milliseconds, at one moment, and what memory gives: a machine that others share
// is not equally quick all the time, and what slows a program down then is not in it.
struct Moment {
  double fp32 = 0, tiles = 0;  // FLOP/s
  // Bytes/s that all threads read: of 1 MiB each, which the second-level cache holds, and of more
  // than any cache does.
  double cache = 0, memory = 0;
};
class MomentProbe {
 public:
  explicit MomentProbe(int threads);
  Moment Measure();

 private:
  const int threads_;
  std::vector<char> bytes_;
  size_t at_ = 0;
};

}  // namespace tiltshift::engine
