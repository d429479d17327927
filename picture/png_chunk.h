// Chunks of a PNG that is there already: what a picture says of itself.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace tiltshift::picture {

struct PngChunk {
  std::string_view type;  // four letters
  std::string_view data;
  size_t offset = 0;                                // of its length field, in the file
  size_t size() const { return data.size() + 12; }  // with length, type and checksum
};

// Where a chunk stands that is put in by WithChunk: after signature and IHDR.
inline constexpr size_t kAfterPngHeader = 33;

// All chunks, IEND the last; views into `png`. InvalidArgument: not a PNG. DataLoss: chunks that do
// not fit their file or their checksum, named.
absl::StatusOr<std::vector<PngChunk>> PngChunks(std::string_view png);

// `png` with one chunk more, at kAfterPngHeader. InvalidArgument: `png` is none.
absl::StatusOr<std::string> WithChunk(std::string_view png, std::string_view type,
                                      std::string_view data);

// `xmp`, an XMP packet in UTF-8, as the iTXt chunk that the XMP specification (part 3) names,
// before the pixels. InvalidArgument: `png` is none.
absl::StatusOr<std::string> WithXmp(std::string_view png, std::string_view xmp);

// The packet of such a chunk; empty where there is none. Errors of PngChunks.
absl::StatusOr<std::string> XmpOf(std::string_view png);

}  // namespace tiltshift::picture
