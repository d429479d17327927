#include "picture/png_chunk.h"

#include <zlib.h>

#include <cstdint>

namespace tiltshift::picture {
namespace {

constexpr std::string_view kSignature = "\x89PNG\r\n\x1a\n";
constexpr size_t kAround = 12;                // a chunk's length, type and checksum
constexpr size_t kHeader = 8 + kAround + 13;  // signature and IHDR, the first chunk of any PNG
// Keyword, not compressed, no language, no translated keyword.
constexpr std::string_view kXmp{"XML:com.adobe.xmp\0\0\0\0\0", 22};

std::string BigEndian(uint32_t value) {
  std::string bytes;
  for (const int shift : {24, 16, 8, 0}) bytes.push_back(static_cast<char>(value >> shift));
  return bytes;
}

uint32_t NumberAt(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

uint32_t Checksum(std::string_view type_and_data) {
  return static_cast<uint32_t>(crc32(crc32(0, nullptr, 0),
                                     reinterpret_cast<const Bytef*>(type_and_data.data()),
                                     static_cast<uInt>(type_and_data.size())));
}

}  // namespace

absl::StatusOr<std::string> WithXmp(std::string_view png, std::string_view xmp) {
  if (!png.starts_with(kSignature) || png.size() < kHeader + kAround)
    return absl::InvalidArgumentError("not a PNG");
  const std::string chunk = std::string("iTXt").append(kXmp).append(xmp);
  std::string out(png.substr(0, kHeader));
  out += BigEndian(static_cast<uint32_t>(chunk.size() - 4));
  out += chunk;
  out += BigEndian(Checksum(chunk));
  return out.append(png.substr(kHeader));
}

absl::StatusOr<std::string> XmpOf(std::string_view png) {
  if (!png.starts_with(kSignature)) return absl::DataLossError("not a PNG");
  for (size_t at = kSignature.size(); at < png.size();) {
    const size_t left = png.size() - at;
    const size_t length = left < kAround ? 0 : NumberAt(png, at);
    if (left < kAround || length > left - kAround) return absl::DataLossError("the PNG is cut off");
    const std::string_view chunk = png.substr(at + 4, 4 + length);
    if (NumberAt(png, at + 8 + length) != Checksum(chunk))
      return absl::DataLossError("the PNG is damaged");
    if (chunk.starts_with("iTXt") && chunk.substr(4).starts_with(kXmp))
      return std::string(chunk.substr(4 + kXmp.size()));
    if (chunk.starts_with("IEND")) return std::string();
    at += kAround + length;
  }
  return absl::DataLossError("the PNG is cut off");
}

}  // namespace tiltshift::picture
