// What tiltshift-photo-decoder writes: this, then the pixels, or the message.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tiltshift::picture {

inline constexpr size_t kLongestAnswer = 500;  // bytes of a message

struct PhotoAnswer {
  uint32_t magic = 0x31544854;
  int32_t code = 0;  // an absl::StatusCode
  int32_t width = 0, height = 0;
  int32_t message_bytes = 0;
};

}  // namespace tiltshift::picture
