// A file of packed weights (docs/formats.md), as bytes: written by PackWriter, believed only after
// what follows was checked.
//
//   0      8    "TSWPACK\n"
//   8      4    version of this layout, little-endian as all numbers: kPackVersion
//   12     4    kPackHeaderBytes
//   16     8    bytes of the file
//   24     8    where the directory begins; it ends with the file
//   32     64   SHA-256 of the directory, hex
//   96     64   SHA-256 of bytes 0 to 96, hex
//   4096        pieces, each at a multiple of kPackAlignment, and then the directory: JSON,
//               {"packing": "...", "identity": "...", "model": "...", "pieces": [["key", offset,
//               bytes, sample], ...]}
//
// A sample is a sum over some places of a piece, which tells a hole or another file's blocks from
// what was written without reading all of it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace tiltshift::engine {

inline constexpr uint32_t kPackVersion = 1;
inline constexpr uint64_t kPackHeaderBytes = 4096;
inline constexpr uint64_t kPackAlignment = 64;

struct PackPiece {
  std::string key;  // of the tensor and of the layout that it is in
  uint64_t offset = 0, bytes = 0;
  uint64_t sample = 0;
};

struct PackDirectory {
  std::string packing;   // what packed: backend, library, precision, versions. Other packings are
                         // other bytes.
  std::string identity;  // of the model's files (model_identity.h)
  std::string model;     // the model's folder, for people and for clearing up
  std::vector<PackPiece> pieces;
};

uint64_t PackSample(std::string_view bytes);

std::string EncodePackDirectory(const PackDirectory& directory);
// The first kPackHeaderBytes of the file whose directory begins at `directory_offset`.
std::string EncodePackHeader(uint64_t directory_offset, std::string_view directory);

// Checks a whole file's bytes but for the pieces' contents between the samples. Pieces lie within
// the file, after its header and before its directory, in order and apart, each key once. DataLoss
// says what is wrong; `file` is what it is called.
absl::StatusOr<PackDirectory> ParsePack(std::string_view bytes, const std::string& file);

}  // namespace tiltshift::engine
