#include "engine/pack/weight_pack.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace tiltshift::engine {
namespace {

constexpr uint64_t kFetchBytes = uint64_t{16} << 20;

// What a pack says becomes pictures: it must be ours.
absl::Status CheckOwner(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, "cannot stat", path);
  const bool ours = info.st_uid == geteuid() || info.st_uid == 0;
  if (ours && (info.st_mode & S_IWOTH) == 0) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrCat(
      path, ": ", ours ? "everybody may write it" : "is another user's", "; it is left alone"));
}

}  // namespace

absl::StatusOr<std::shared_ptr<const WeightPack>> WeightPack::Open(const std::string& path,
                                                                   Ahead ahead) {
  TS_RETURN_IF_ERROR(CheckOwner(path));
  TS_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  file.UseLargePages();
  TS_ASSIGN_OR_RETURN(PackDirectory directory, ParsePack(file.bytes(), path));
  std::shared_ptr<WeightPack> pack(new WeightPack(std::move(file), std::move(directory)));
  if (ahead == Ahead::kAll) pack->FetchAll();
  return pack;
}

WeightPack::WeightPack(MappedFile file, PackDirectory directory)
    : file_(std::move(file)), directory_(std::move(directory)) {
  for (const PackPiece& piece : directory_.pieces) {
    pieces_[piece.key] = file_.bytes().substr(piece.offset, piece.bytes);
  }
}

// Large pages come whole, and in order: what is read first is there first.
void WeightPack::FetchAll() {
#ifdef MADV_POPULATE_READ
  fetching_ = std::jthread([bytes = file_.bytes()](const std::stop_token& stop) {
    for (size_t at = 0; at < bytes.size() && !stop.stop_requested(); at += kFetchBytes) {
      madvise(const_cast<char*>(bytes.data()) + at,
              std::min<size_t>(kFetchBytes, bytes.size() - at), MADV_POPULATE_READ);
    }
  });
#endif
}

const char* WeightPack::Find(std::string_view key, uint64_t bytes) const {
  const auto piece = pieces_.find(key);
  return piece == pieces_.end() || piece->second.size() != bytes ? nullptr : piece->second.data();
}

}  // namespace tiltshift::engine
