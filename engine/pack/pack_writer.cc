#include "engine/pack/pack_writer.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <utility>

namespace tiltshift::engine {
namespace {

constexpr uint64_t kSlabBytes = uint64_t{64} << 20;
constexpr uint64_t kPage = 4096;

uint64_t Align(uint64_t bytes, uint64_t to) { return (bytes + to - 1) / to * to; }

absl::Status WriteAt(int fd, std::string_view bytes, uint64_t at, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, "cannot write", path);
    bytes.remove_prefix(static_cast<size_t>(n));
    at += static_cast<uint64_t>(n);
  }
  return absl::OkStatus();
}

// The name may have been given away or unlinked between open and lock.
bool StillHasName(int fd, const std::string& path) {
  struct stat open_file, named;
  return fstat(fd, &open_file) == 0 && stat(path.c_str(), &named) == 0 &&
         open_file.st_ino == named.st_ino && open_file.st_dev == named.st_dev;
}

absl::Status SyncFolderOf(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path();
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "cannot open folder", folder);
  const int error = fsync(fd) == 0 || errno == EINVAL ? 0 : errno;
  close(fd);
  return error == 0 ? absl::OkStatus() : ErrnoStatus(error, "cannot sync folder", folder);
}

}  // namespace

absl::StatusOr<std::unique_ptr<PackWriter>> PackWriter::Create(const std::string& path,
                                                               PackDirectory what) {
  const std::string temporary = path + ".tmp";
  const int fd = open(temporary.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (fd < 0) return ErrnoStatus(errno, "cannot create", temporary);
  if (flock(fd, LOCK_EX | LOCK_NB) != 0 || !StillHasName(fd, temporary)) {
    close(fd);
    return absl::UnavailableError(temporary + " is being written by another process");
  }
  std::unique_ptr<PackWriter> writer(new PackWriter(path, fd, std::move(what)));
  if (ftruncate(fd, 0) != 0) return ErrnoStatus(errno, "cannot truncate", temporary);
  return writer;
}

PackWriter::PackWriter(std::string path, int fd, PackDirectory what)
    : path_(std::move(path)), fd_(fd), directory_(std::move(what)) {}

PackWriter::~PackWriter() {
  for (const Slab& slab : slabs_) munmap(slab.data, slab.bytes);
  if (!published_) unlink(temporary().c_str());
  close(fd_);
}

// Blocks are taken before they are written to: a full disk would be a SIGBUS. The next slab begins
// in the page after the last piece, so that what was left of the one before is no hole in the file.
absl::Status PackWriter::AddSlab(uint64_t bytes) {
  uint64_t offset = kPackHeaderBytes;
  if (!slabs_.empty()) offset = Align(slabs_.back().offset + slabs_.back().used, kPage);
  const uint64_t size = Align(std::max(bytes, kSlabBytes), kPage);
  const int error = posix_fallocate(fd_, static_cast<off_t>(offset), static_cast<off_t>(size));
  if (error != 0) return ErrnoStatus(error, "cannot write", temporary());
  void* data =
      mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, static_cast<off_t>(offset));
  if (data == MAP_FAILED) return ErrnoStatus(errno, "cannot map", temporary());
  madvise(data, size, MADV_HUGEPAGE);  // where the file system has large pages
  slabs_.push_back({static_cast<char*>(data), offset, size, 0});
  return absl::OkStatus();
}

char* PackWriter::New(const std::string& key, uint64_t bytes) {
  if (const auto known = known_.find(key); known != known_.end()) {
    if (known->second.second == bytes) return known->second.first;
    status_.Update(absl::InternalError(absl::StrCat(key, ": packed in two sizes")));
    return nullptr;
  }
  const uint64_t room = Align(bytes, kPackAlignment);
  if (slabs_.empty() || slabs_.back().bytes - slabs_.back().used < room) {
    if (status_.ok()) status_ = AddSlab(room);
    if (!status_.ok()) return nullptr;
  }
  Slab& slab = slabs_.back();
  char* piece = slab.data + slab.used;
  directory_.pieces.push_back({key, slab.offset + slab.used, bytes, 0});
  slab.used += room;
  known_[key] = {piece, bytes};
  return piece;
}

absl::StatusOr<std::shared_ptr<const WeightPack>> PackWriter::Seal() {
  TS_RETURN_IF_ERROR(status_);
  for (PackPiece& piece : directory_.pieces)
    piece.sample = PackSample({known_.at(piece.key).first, piece.bytes});
  const uint64_t end =
      slabs_.empty() ? kPackHeaderBytes : slabs_.back().offset + slabs_.back().used;
  const std::string text = EncodePackDirectory(directory_);
  if (ftruncate(fd_, static_cast<off_t>(end)) != 0)
    return ErrnoStatus(errno, "cannot truncate", temporary());
  TS_RETURN_IF_ERROR(WriteAt(fd_, text, end, temporary()));
  TS_RETURN_IF_ERROR(WriteAt(fd_, EncodePackHeader(end, text), 0, temporary()));
  for (const Slab& slab : slabs_) munmap(slab.data, slab.bytes);
  slabs_.clear();
  known_.clear();
  return WeightPack::Open(temporary());
}

absl::Status PackWriter::Publish() {
  if (fdatasync(fd_) != 0) return ErrnoStatus(errno, "cannot sync", temporary());
  if (rename(temporary().c_str(), path_.c_str()) != 0)
    return ErrnoStatus(errno, "cannot replace", path_);
  published_ = true;
  return SyncFolderOf(path_);
}

}  // namespace tiltshift::engine
