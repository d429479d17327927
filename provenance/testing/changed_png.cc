#include "provenance/testing/changed_png.h"

#include <vector>

#include "base/check.h"
#include "picture/png.h"
#include "picture/png_chunk.h"

namespace tiltshift::provenance {

std::string ChangedChunk(std::string_view png, std::string_view type,
                         const std::function<void(std::string&)>& change) {
  const auto found = picture::PngChunks(png);
  TS_CHECK(found.ok());
  const std::vector<picture::PngChunk>& chunks = found.value();
  std::string out(png);
  for (auto chunk = chunks.rbegin(); chunk != chunks.rend(); ++chunk) {
    if (chunk->type != type) continue;
    std::string data(chunk->data);
    change(data);
    const std::string with = *picture::WithChunk(png, type, data);
    out.replace(chunk->offset, chunk->size(),
                with.substr(picture::kAfterPngHeader, with.size() - png.size()));
  }
  return out;
}

std::string ChangedPixel(std::string_view png) {
  auto image = *picture::DecodePng(png);
  image.rgb[image.rgb.size() / 2] ^= 1;
  const std::string repainted = *picture::EncodePng(image.width, image.height, image.rgb);
  std::string pixels;
  for (const auto& chunk : *picture::PngChunks(repainted))
    if (chunk.type == "IDAT") pixels += std::string(chunk.data);
  int times = 0;
  std::string changed = ChangedChunk(png, "IDAT", [&](std::string& data) {
    data = pixels;
    ++times;
  });
  TS_CHECK(times == 1);  // small enough for one
  return changed;
}

}  // namespace tiltshift::provenance
