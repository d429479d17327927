// Numbers on the card for tests and benches, with their making and their reading back.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "base/check.h"
#include "kernels/numbers.h"
#include "kernels/runtime.h"

namespace tiltshift::kernels::testing {

// `count` numbers of the card's memory, freed at the end.
template <class T>
class DeviceBuffer {
 public:
  explicit DeviceBuffer(int64_t count) : count_(count) {
    TS_CHECK(cudaMalloc(&data_, count * sizeof(T)) == cudaSuccess);
  }
  explicit DeviceBuffer(const std::vector<T>& values)
      : DeviceBuffer(static_cast<int64_t>(values.size())) {
    TS_CHECK(cudaMemcpy(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice) ==
             cudaSuccess);
  }
  DeviceBuffer(DeviceBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), count_(other.count_) {}
  ~DeviceBuffer() { cudaFree(data_); }

  T* get() const { return data_; }
  int64_t count() const { return count_; }
  // Waits for all that runs.
  std::vector<T> Read() const {
    std::vector<T> values(count_);
    TS_CHECK(cudaMemcpy(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost) ==
             cudaSuccess);
    return values;
  }

 private:
  T* data_ = nullptr;
  int64_t count_ = 0;
};

// Numbers between -scale and scale, different for each seed, the same on every machine.
template <class T>
std::vector<T> RandomNumbers(int64_t count, uint64_t seed, float scale = 1.0f) {
  std::vector<T> values(count);
  uint64_t state = seed * 0x9e3779b97f4a7c15 + 1;
  for (T& value : values) {  // xorshift*
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    const auto top = static_cast<int32_t>(state * 0x2545f4914f6cdd1d >> 32);
    value = FromFloat<T>(scale * static_cast<float>(top) * 4.656612873077393e-10f);
  }
  return values;
}

// FNV-1a over the bytes.
template <class T>
uint64_t HashOf(const std::vector<T>& values) {
  uint64_t hash = 0xcbf29ce484222325;
  const auto* bytes = reinterpret_cast<const unsigned char*>(values.data());
  for (size_t i = 0; i < values.size() * sizeof(T); ++i) hash = (hash ^ bytes[i]) * 0x100000001b3;
  return hash;
}

}  // namespace tiltshift::kernels::testing
