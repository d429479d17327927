#include "engine/model_hash.h"

#include <omp.h>

#include <algorithm>
#include <span>

#include "base/file.h"
#include "base/hash.h"

namespace tiltshift::engine {
namespace {

constexpr size_t kPartBytes = size_t{64} << 10;  // sixteen are in the second-level cache
constexpr size_t kAtOnce = 16;

struct Piece {
  std::string_view bytes;
  bool mapped;
  std::string hash;
};

// Side by side, a part of each in turn.
void HashPieces(std::span<Piece> pieces, const std::function<void(std::string_view)>& look) {
  std::vector<Sha256> hashes(pieces.size());
  std::vector<std::string_view> parts(pieces.size());
  for (size_t at = 0; at < kHashPieceBytes; at += kPartBytes) {
    for (size_t i = 0; i < pieces.size(); ++i)
      parts[i] = at < pieces[i].bytes.size() ? pieces[i].bytes.substr(at, kPartBytes) : "";
    Sha256::UpdateEach(hashes, parts);
    for (size_t i = 0; i < pieces.size(); ++i) {
      if (look && pieces[i].mapped && !parts[i].empty()) look(parts[i]);
    }
  }
  for (size_t i = 0; i < pieces.size(); ++i) {
    pieces[i].hash = hashes[i].Hex();
    if (pieces[i].mapped) MappedFile::Release(pieces[i].bytes);
  }
}

}  // namespace

std::string HashModel(const std::vector<HashedFile>& files,
                      const std::function<void(std::string_view)>& look) {
  std::vector<Piece> pieces;
  for (const HashedFile& file : files) {
    for (size_t at = 0; at < file.bytes.size(); at += kHashPieceBytes)
      pieces.push_back({file.bytes.substr(at, kHashPieceBytes), file.mapped, ""});
  }
// All cores, also where a slot has one.
#pragma omp parallel for schedule(dynamic) num_threads(omp_get_num_procs())
  for (size_t i = 0; i < pieces.size(); i += kAtOnce)
    HashPieces(std::span(pieces).subspan(i, std::min(kAtOnce, pieces.size() - i)), look);
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
