#include "kernels/emulation/device_emulated.h"

namespace tiltshift::kernels {

void LoadMatricesOfWarp(emulation::Thread& last, void* const* lanes) {
  const auto* arguments = reinterpret_cast<const emulation::LoadMatrixArguments* const*>(lanes);
  emulation::WarpLoadMatrix(arguments);
  if (!emulation::tracking) return;
  emulation::Counters& counters = last.block->counters();
  counters.load_matrix += arguments[0]->count;
  // Each of the four matrices of an instruction is a pass of eight lanes of 16 bytes.
  for (int i = 0; i < arguments[0]->count; ++i) {
    int64_t offsets[32];
    for (int lane = 0; lane < 32; ++lane) {
      offsets[lane] = static_cast<const char*>(arguments[lane]->rows[i]) - last.block->shared();
    }
    counters.matrix_bank_conflicts += emulation::BankConflicts(offsets, 32, 16);
  }
}

void MultiplyOfWarp(emulation::Thread& last, void* const* lanes) {
  const auto* arguments = reinterpret_cast<const emulation::MmaArguments* const*>(lanes);
  emulation::WarpMma(arguments);
  if (emulation::tracking) last.block->counters().mma += int64_t{arguments[0]->m} * arguments[0]->n;
}

}  // namespace tiltshift::kernels
