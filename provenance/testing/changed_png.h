// Pictures changed as someone would who knows PNG: the checksums are right again.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace tiltshift::provenance {

// `png` with the data of each chunk of `type` put through `change`.
std::string ChangedChunk(std::string_view png, std::string_view type,
                         const std::function<void(std::string&)>& change);

// With one bit of one pixel changed, and all else as it was.
std::string ChangedPixel(std::string_view png);

}  // namespace tiltshift::provenance
