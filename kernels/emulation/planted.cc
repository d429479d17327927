#include "kernels/emulation/planted.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>

namespace tiltshift::emulation {

std::optional<size_t> PlantedMemoryBytes() {
  const char* megabytes = std::getenv("TILTSHIFT_EMULATED_MEMORY_MB");
  if (megabytes == nullptr) return std::nullopt;
  return std::strtoull(megabytes, nullptr, 10) * 1'000'000;
}

PlantedFault::PlantedFault() {
  const char* path = std::getenv("TILTSHIFT_EMULATED_FAULT");
  if (path == nullptr) return;
  int64_t launch = 0;
  std::ifstream(path) >> launch;
  if (launch > 0 && std::remove(path) == 0) left_ = launch;
}

}  // namespace tiltshift::emulation
