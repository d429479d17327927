#include "picture/png_chunk.h"

#include <zlib.h>

#include <cstdint>

namespace tiltshift::picture {
namespace {

constexpr std::string_view kSignature = "\x89PNG\r\n\x1a\n";
constexpr size_t kAround = 12;  // a chunk's length, type and checksum
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

bool IsLetters(std::string_view type) {
  for (const char c : type)
    if ((c < 'A' || c > 'Z') && (c < 'a' || c > 'z')) return false;
  return true;
}

}  // namespace

absl::StatusOr<std::vector<PngChunk>> PngChunks(std::string_view png) {
  if (!png.starts_with(kSignature)) return absl::InvalidArgumentError("not a PNG");
  std::vector<PngChunk> chunks;
  for (size_t at = kSignature.size();; at += chunks.back().size()) {
    const size_t left = png.size() - at;
    const size_t length = left < kAround ? 0 : NumberAt(png, at);
    if (left < kAround || length > left - kAround) {
      return absl::DataLossError(absl::StrCat("the PNG is cut off: it ends at byte ", png.size(),
                                              ", in the middle of a chunk that begins at ", at));
    }
    const std::string_view type = png.substr(at + 4, 4);
    if (!IsLetters(type) ||
        NumberAt(png, at + 8 + length) != Checksum(png.substr(at + 4, 4 + length))) {
      return absl::DataLossError(absl::StrCat("the PNG is damaged: the chunk ",
                                              IsLetters(type) ? std::string(type) : "", " at byte ",
                                              at, " does not fit its checksum"));
    }
    chunks.push_back({type, png.substr(at + 8, length), at});
    if (type == "IEND") return chunks;
  }
}

absl::StatusOr<std::string> WithChunk(std::string_view png, std::string_view type,
                                      std::string_view data) {
  if (!png.starts_with(kSignature) || png.size() < kAfterPngHeader + kAround)
    return absl::InvalidArgumentError("not a PNG");
  const std::string chunk = std::string(type).append(data);
  std::string out;
  out.reserve(png.size() + data.size() + kAround);
  out += png.substr(0, kAfterPngHeader);
  out += BigEndian(static_cast<uint32_t>(data.size()));
  out += chunk;
  out += BigEndian(Checksum(chunk));
  return out.append(png.substr(kAfterPngHeader));
}

absl::StatusOr<std::string> WithXmp(std::string_view png, std::string_view xmp) {
  return WithChunk(png, "iTXt", std::string(kXmp).append(xmp));
}

absl::StatusOr<std::string> XmpOf(std::string_view png) {
  TS_ASSIGN_OR_RETURN(const auto chunks, PngChunks(png));
  for (const PngChunk& chunk : chunks)
    if (chunk.type == "iTXt" && chunk.data.starts_with(kXmp))
      return std::string(chunk.data.substr(kXmp.size()));
  return std::string();
}

}  // namespace tiltshift::picture
