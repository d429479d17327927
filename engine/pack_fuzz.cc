// Any bytes are either refused as packed weights or give pieces that lie inside them. The hashes
// would turn back all but the corpus, so a second try gets them right: the input is then what
// stands between header and directory, a line feed, and the directory.
#include <cstdint>

#include "base/check.h"
#include "engine/pack/pack_format.h"

namespace {

using namespace tiltshift::engine;

void Check(std::string_view bytes) {
  const auto directory = ParsePack(bytes, "fuzz");
  if (!directory.ok()) return;
  uint64_t end = kPackHeaderBytes;
  for (const PackPiece& piece : directory->pieces) {
    TS_CHECK(piece.offset >= end && piece.offset % kPackAlignment == 0 &&
             piece.bytes <= bytes.size() - piece.offset);
    end = piece.offset + piece.bytes;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  Check(bytes);
  const size_t line = bytes.find('\n');
  if (line == bytes.npos) return 0;
  const std::string_view pieces = bytes.substr(0, line), directory = bytes.substr(line + 1);
  std::string file = EncodePackHeader(kPackHeaderBytes + pieces.size(), directory);
  file.append(pieces).append(directory);
  Check(file);
  return 0;
}
