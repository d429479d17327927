// What the processor's own units give when nothing but arithmetic runs: the ceilings a bench holds figures against.
#pragma once

namespace tiltshift::engine {

// FLOP/s of `threads` threads at once, measured for a tenth of a second; zero where the unit is missing.
double PeakFp32(int threads);   // fused multiply-adds of the widest vectors, from registers
double PeakTiles(int threads);  // AMX products of bf16, from registers

}  // namespace tiltshift::engine
