#include "engine/model_hash.h"

#include <omp.h>

#include "base/file.h"
#include "base/hash.h"

namespace tiltshift::engine {
namespace {

constexpr size_t kPartBytes = size_t{512} << 10;  // in the second-level cache

std::string HashPiece(std::string_view piece, const std::function<void(std::string_view)>& look) {
  Sha256 hash;
  for (size_t at = 0; at < piece.size(); at += kPartBytes) {
    const std::string_view part = piece.substr(at, kPartBytes);
    hash.Update(part);
    if (look) look(part);
  }
  return hash.Hex();
}

}  // namespace

std::string HashModel(const std::vector<HashedFile>& files, const std::function<void(std::string_view)>& look) {
  struct Piece {
    std::string_view bytes;
    bool mapped;
    std::string hash;
  };
  std::vector<Piece> pieces;
  for (const HashedFile& file : files) {
    for (size_t at = 0; at < file.bytes.size(); at += kHashPieceBytes)
      pieces.push_back({file.bytes.substr(at, kHashPieceBytes), file.mapped, ""});
  }
// All cores, also where a slot has one.
#pragma omp parallel for schedule(dynamic) num_threads(omp_get_num_procs())
  for (size_t i = 0; i < pieces.size(); ++i) {
    pieces[i].hash = HashPiece(pieces[i].bytes, pieces[i].mapped ? look : nullptr);
    if (pieces[i].mapped) MappedFile::Release(pieces[i].bytes);
  }
  Sha256 hash;
  auto piece = pieces.begin();
  for (const HashedFile& file : files) {
    hash.Update(absl::StrCat(file.name, "\n", file.bytes.size(), "\n"));
    for (size_t at = 0; at < file.bytes.size(); at += kHashPieceBytes)
      hash.Update((piece++)->hash + "\n");
  }
  return hash.Hex();
}

}  // namespace tiltshift::engine
