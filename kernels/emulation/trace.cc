#include "kernels/emulation/trace.h"

#include <iterator>
#include <utility>

#include "kernels/emulation/streams.h"

namespace tiltshift::emulation {

std::vector<Call> Trace::Take() {
  on_ = false;
  return std::exchange(calls_, {});
}

bool Trace::IsPinned(const void* memory, size_t bytes) const {
  const char* at = static_cast<const char*>(memory);
  const auto after = pinned_.upper_bound(at);
  if (after == pinned_.begin()) return false;
  const auto& [begin, size] = *std::prev(after);
  return at + bytes <= begin + size;
}

void StartTrace() {
  const std::lock_guard lock(TheStreams().mutex);
  TheStreams().trace.Start();
}

std::vector<Call> TakeTrace() {
  const std::lock_guard lock(TheStreams().mutex);
  return TheStreams().trace.Take();
}

}  // namespace tiltshift::emulation
