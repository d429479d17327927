// Any bytes as a photo: an error in words, or as many pixels as it says, never a crash.
#include <cstdint>
#include <cstdlib>

#include "picture/photo.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto photo = tiltshift::picture::DecodePhoto({reinterpret_cast<const char*>(data), size});
  if (!photo.ok()) return photo.status().message().empty() ? (std::abort(), 0) : 0;
  if (photo->rgb.size() !=
      static_cast<size_t>(photo->width) * static_cast<size_t>(photo->height) * 3)
    std::abort();
  return 0;
}
