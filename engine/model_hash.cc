#include "engine/model_hash.h"

#include <omp.h>

#include <algorithm>
#include <functional>

#include "base/blake3.h"
#include "base/file.h"
#include "base/hash.h"

namespace tiltshift::engine {
namespace {

// A file's piece, or all of one that is no longer.
struct Piece {
  std::string_view bytes;
  uint64_t index;
  Blake3Value* value;  // to be set
};

}  // namespace

std::string HashModel(const std::vector<HashedFile>& files,
                      const std::function<void(std::string_view)>& look) {
  std::vector<std::vector<Blake3Value>> values(files.size());
  std::vector<Piece> pieces;
  for (size_t f = 0; f < files.size(); ++f) {
    const std::string_view bytes = files[f].bytes;
    if (!files[f].mapped) continue;
    values[f].resize((bytes.size() + kBlake3Piece - 1) / kBlake3Piece);
    for (size_t i = 0; i < values[f].size(); ++i)
      pieces.push_back({bytes.substr(i * kBlake3Piece, kBlake3Piece), i, &values[f][i]});
  }
  // The order in which files are read.
  std::sort(pieces.begin(), pieces.end(), [](const Piece& a, const Piece& b) {
    return std::less<>()(a.bytes.data(), b.bytes.data());
  });
// All cores, also where a slot has one.
#pragma omp parallel for schedule(dynamic) num_threads(omp_get_num_procs())
  for (size_t i = 0; i < pieces.size(); ++i) {
    const Piece& piece = pieces[i];
    *piece.value = Blake3OfPiece(piece.bytes, piece.index);
    if (look) look(piece.bytes);
    MappedFile::Release(piece.bytes);
  }
  Sha256 hash;
  for (size_t f = 0; f < files.size(); ++f) {
    const HashedFile& file = files[f];
    const std::string of_file = values[f].size() > 1 ? Blake3Hex(values[f]) : Blake3Hex(file.bytes);
    hash.Update(absl::StrCat(file.name, "\n", file.bytes.size(), "\n", of_file, "\n"));
  }
  return hash.Hex();
}

}  // namespace tiltshift::engine
