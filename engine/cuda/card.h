// The card as the backend sees it: its memory, its errors, and whether it can still be used.
#pragma once

#include <cstddef>
#include <mutex>
#include <string>
#include <utility>

#include "base/status.h"
#include "kernels/runtime.h"

namespace tiltshift::engine::cuda {

// OK, or what went wrong: ResourceExhausted where memory ran out, else Aborted.
absl::Status ToStatus(cudaError_t error, const std::string& doing);

// Device memory, freed with its owner.
class DeviceBytes {
 public:
  DeviceBytes() = default;
  static absl::StatusOr<DeviceBytes> New(size_t bytes);
  DeviceBytes(DeviceBytes&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
  DeviceBytes& operator=(DeviceBytes&& other) noexcept {
    std::swap(data_, other.data_);
    return *this;
  }
  ~DeviceBytes() { cudaFree(data_); }
  char* get() const { return data_; }

 private:
  char* data_ = nullptr;
};

// The same of the host's memory that the card can reach by itself.
class PinnedBytes {
 public:
  PinnedBytes() = default;
  static absl::StatusOr<PinnedBytes> New(size_t bytes);
  PinnedBytes(PinnedBytes&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
  PinnedBytes& operator=(PinnedBytes&& other) noexcept {
    std::swap(data_, other.data_);
    return *this;
  }
  ~PinnedBytes() { cudaFreeHost(data_); }
  char* get() const { return data_; }

 private:
  char* data_ = nullptr;
};

// Safe to use from many threads.
class Card {
 public:
  // The first error that was noted. A fault of a kernel leaves the CUDA context of the process
  // useless for good: only a new process helps.
  absl::Status health() const;
  // Remembers an error that no shape and no lack of memory explains.
  void Note(const absl::Status& status);

 private:
  mutable std::mutex mutex_;
  absl::Status health_;
};

}  // namespace tiltshift::engine::cuda
