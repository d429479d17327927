// Memory for activations and weights: aligned to a cache line, in large pages where the system
// gives them, freed with its owner.
//
// A forward walks through megabytes of weights; in pages of 4 KiB each step of it would also wait
// for the page table.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

namespace tiltshift::engine::cpu {

inline constexpr size_t kAlignment = 64;
inline constexpr size_t kLargePage = size_t{2} << 20;
inline size_t Align(size_t bytes, size_t to = kAlignment) { return (bytes + to - 1) / to * to; }

struct FreeBytes {
  size_t mapped = 0;  // bytes; 0: of the heap
  void operator()(char* bytes) const;
};
using AlignedBytes = std::unique_ptr<char[], FreeBytes>;

// Null where there is not enough memory.
AlignedBytes NewAligned(size_t bytes);
// Zeros, every page of them there: all cores fetch them from the system now, so that no run waits
// for them. A virtual machine may have to ask its host for each, at a gigabyte a second
// (docs/performance.md).
AlignedBytes NewZeroed(size_t bytes);

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
