// Bytes that nobody else should see: locked into memory where the system lets us, in no core dump,
// with unreadable pages around them, overwritten when they go.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

namespace tiltshift::seal {

class Secret {
 public:
  Secret() = default;
  // Zeros.
  explicit Secret(size_t size);
  static Secret Of(std::string_view bytes);
  static Secret Random(size_t size);
  Secret(Secret&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Secret& operator=(Secret&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Secret();

  uint8_t* data() { return data_; }
  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  std::string_view view() const { return {reinterpret_cast<const char*>(data_), size_}; }
  // Forgets what is behind the first `size` bytes.
  void Shorten(size_t size) { size_ = size; }

 private:
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

// Overwrites bytes that had to be elsewhere for a moment: what a library gave or wanted.
void Wipe(std::span<uint8_t> bytes);
void Wipe(std::span<char> bytes);

}  // namespace tiltshift::seal
