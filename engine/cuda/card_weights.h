// A model's parameters on the card, in the form the kernels read, made once and shared by all
// programs.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "base/status.h"
#include "engine/cuda/card.h"
#include "engine/parameter.h"

namespace tiltshift::engine::cuda {

// The 2-byte number that a program computes with.
enum class Half : uint8_t { kBf16, kFp16 };

// kPairs: rows n and n + half stand next to each other, as GEGLU's epilogue takes value and gate.
enum class RowOrder : uint8_t { kPlain, kPairs };

// Safe to use from many threads. What it returns lives as long as it does.
class CardWeights {
 public:
  explicit CardWeights(Half half) : half_(half) {}
  Half half() const { return half_; }

  // A matrix [out, in] or a filter [out, in, kernel, kernel] as rows of out, in each the kernel's
  // places, in those the input channels; out and in padded with zeros to multiples of 8.
  absl::StatusOr<const void*> Rows(const Parameter& parameter, RowOrder order = RowOrder::kPlain);
  // A bias, a scale, a shift in fp32, padded the same way.
  absl::StatusOr<const float*> Floats(const Parameter& parameter,
                                      RowOrder order = RowOrder::kPlain);

 private:
  using Key = std::pair<const Parameter*, RowOrder>;
  absl::StatusOr<char*> Upload(const void* from, size_t bytes);

  const Half half_;
  std::mutex mutex_;
  std::vector<DeviceBytes> slabs_;
  char* next_ = nullptr;
  size_t left_ = 0;
  std::map<Key, const void*> rows_;
  std::map<Key, const float*> floats_;
};

}  // namespace tiltshift::engine::cuda
