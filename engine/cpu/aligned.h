// Memory for activations and weights: aligned to a cache line, in large pages where the system
// gives them, freed with its owner.
//
// A forward walks through megabytes of weights; in pages of 4 KiB each step of it would also wait
// for the page table.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

namespace tiltshift::engine::cpu {

inline constexpr size_t kAlignment = 64;
inline constexpr size_t kLargePage = size_t{2} << 20;
inline size_t Align(size_t bytes, size_t to = kAlignment) { return (bytes + to - 1) / to * to; }

struct FreeBytes {
  void operator()(char* bytes) const { std::free(bytes); }
};
using AlignedBytes = std::unique_ptr<char[], FreeBytes>;

// Null where there is not enough memory.
inline AlignedBytes NewAligned(size_t bytes) {
  const size_t alignment = bytes >= kLargePage ? kLargePage : kAlignment;
  const size_t size = Align(bytes == 0 ? 1 : bytes, alignment);
  AlignedBytes memory(static_cast<char*>(std::aligned_alloc(alignment, size)));
  if (memory != nullptr && alignment == kLargePage) madvise(memory.get(), size, MADV_HUGEPAGE);
  return memory;
}

// Hands out pieces that live as long as it does.
class Arena {
 public:
  char* New(size_t bytes) {
    bytes = Align(bytes);
    if (bytes > left_) {
      left_ = Align(bytes, kSlab);
      slabs_.push_back(NewAligned(left_));
      if (slabs_.back() == nullptr) {
        slabs_.pop_back();
        left_ = 0;
        return nullptr;
      }
      next_ = slabs_.back().get();
    }
    left_ -= bytes;
    return std::exchange(next_, next_ + bytes);
  }

 private:
  static constexpr size_t kSlab = size_t{8} << 20;
  std::vector<AlignedBytes> slabs_;
  char* next_ = nullptr;
  size_t left_ = 0;
};

}  // namespace tiltshift::engine::cpu
