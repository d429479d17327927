#include "kernels/emulation/counters.h"

namespace tiltshift::emulation {

Counters& Counters::operator+=(const Counters& other) {
  mma += other.mma;
  load_matrix += other.load_matrix;
  copy_async += other.copy_async;
  shared_loads += other.shared_loads;
  shared_stores += other.shared_stores;
  global_loads += other.global_loads;
  global_stores += other.global_stores;
  atomics += other.atomics;
  shuffles += other.shuffles;
  barriers += other.barriers;
  bank_conflicts += other.bank_conflicts;
  matrix_bank_conflicts += other.matrix_bank_conflicts;
  sectors += other.sectors;
  ideal_sectors += other.ideal_sectors;
  global_bytes_loaded += other.global_bytes_loaded;
  global_bytes_stored += other.global_bytes_stored;
  return *this;
}

}  // namespace tiltshift::emulation
