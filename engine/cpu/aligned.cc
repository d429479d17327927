#include "engine/cpu/aligned.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "engine/cpu/parallel.h"

namespace tiltshift::engine::cpu {
namespace {

constexpr size_t kTouchedAtOnce = size_t{16} << 20;

// Of the system, zeros; aligned to kLargePage, which mmap does not promise.
AlignedBytes MapLarge(size_t size) {
  const size_t all = size + kLargePage;
  void* const mapped =
      mmap(nullptr, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  char* const from = static_cast<char*>(mapped);
  char* const bytes = reinterpret_cast<char*>(Align(reinterpret_cast<uintptr_t>(from), kLargePage));
  if (bytes > from) munmap(from, bytes - from);
  if (from + all > bytes + size) munmap(bytes + size, from + all - (bytes + size));
  madvise(bytes, size, MADV_HUGEPAGE);
  return AlignedBytes(bytes, {size});
}

}  // namespace

void FreeBytes::operator()(char* bytes) const {
  if (mapped > 0) {
    munmap(bytes, mapped);
  } else {
    std::free(bytes);
  }
}

AlignedBytes NewAligned(size_t bytes) {
  if (bytes >= kLargePage) return MapLarge(Align(bytes, kLargePage));
  return AlignedBytes(
      static_cast<char*>(std::aligned_alloc(kAlignment, Align(std::max<size_t>(bytes, 1)))));
}

AlignedBytes NewZeroed(size_t bytes) {
  AlignedBytes memory = NewAligned(bytes);
  if (memory == nullptr) return memory;
  const size_t mapped = memory.get_deleter().mapped;
  if (mapped == 0) {
    std::memset(memory.get(), 0, bytes);
    return memory;
  }
  // A write to each page; the compiler must not know that it is zero already.
  const auto parts = static_cast<int64_t>((mapped + kTouchedAtOnce - 1) / kTouchedAtOnce);
  ParallelFor(parts, omp_get_num_procs(), [&](int64_t part, int) {
    const size_t first = part * kTouchedAtOnce, end = std::min(mapped, first + kTouchedAtOnce);
    for (size_t at = first; at < end; at += 4096)
      *static_cast<volatile char*>(memory.get() + at) = 0;
  });
  return memory;
}

}  // namespace tiltshift::engine::cpu
