#include "engine/pack/pack_writer.h"

#include <fcntl.h>
#include <omp.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <filesystem>
#include <functional>
#include <utility>

#include "base/file.h"

namespace tiltshift::engine {
namespace {

// Written at a time, at multiples of as much: it stays in the second-level cache, and file systems
// that have large pages give one for it.
constexpr uint64_t kWriteBytes = uint64_t{256} << 10;

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
  // Only what a killed writer left: ext4 waits for the disk at the next close of a file that was
  // cut to nothing.
  struct stat left;
  if (fstat(fd, &left) != 0 || (left.st_size > 0 && ftruncate(fd, 0) != 0))
    return ErrnoStatus(errno, "cannot truncate", temporary);
  return writer;
}

PackWriter::PackWriter(std::string path, int fd, PackDirectory what)
    : path_(std::move(path)), fd_(fd), directory_(std::move(what)) {}

PackWriter::~PackWriter() {
  if (!published_) unlink(temporary().c_str());
  close(fd_);
}

void PackWriter::Add(const std::string& key, uint64_t bytes, Source source) {
  const auto [known, is_new] = known_.try_emplace(key, bytes);
  if (known->second != bytes)
    status_.Update(absl::InternalError(absl::StrCat(key, ": packed in two sizes")));
  if (!is_new) return;
  const uint64_t offset = Align(end_, kPackAlignment);
  directory_.pieces.push_back({key, offset, bytes, 0});
  end_ = offset + bytes;
  filled_.push_back({offset, bytes, std::move(source)});
}

absl::Status PackWriter::Write() {
  struct Part {
    const Filled* piece;
    uint64_t from, to;  // of the file
  };
  std::stable_sort(filled_.begin(), filled_.end(), [](const Filled& a, const Filled& b) {
    return std::less<>()(a.source.at, b.source.at);
  });
  std::vector<Part> parts;
  for (const Filled& piece : filled_) {
    const uint64_t end = piece.offset + piece.bytes;
    for (uint64_t from = piece.offset, to; from < end; from = to) {
      to = piece.source.parts == Parts::kAll
               ? end
               : std::min(end, (from / kWriteBytes + 1) * kWriteBytes);
      parts.push_back({&piece, from, to});
    }
  }
  std::vector<absl::Status> written(parts.size());
// All cores, also where a slot has one: the others wait for these weights.
#pragma omp parallel num_threads(omp_get_num_procs())
  {
    std::vector<Line> lines;
#pragma omp for schedule(dynamic)
    for (size_t i = 0; i < parts.size(); ++i)
      written[i] = WritePart(*parts[i].piece, parts[i].from, parts[i].to, lines);
  }
  for (const absl::Status& each : written) status_.Update(each);
  filled_.clear();
  return status_;
}

absl::Status PackWriter::WritePart(const Filled& piece, uint64_t from, uint64_t to,
                                   std::vector<Line>& lines) try {
  const uint64_t bytes = to - from;
  if (lines.size() * sizeof(Line) < bytes)
    lines.resize((std::max(bytes, kWriteBytes) + sizeof(Line) - 1) / sizeof(Line));
  const std::span<char> some(lines[0].bytes, bytes);
  piece.source.fill(from - piece.offset, some);
  std::lock_guard lock(writing_);
  return WriteAt(fd_, {some.data(), some.size()}, from, temporary());
} catch (const std::exception& error) {
  return absl::ResourceExhaustedError(absl::StrCat("cannot pack weights: ", error.what()));
}

absl::StatusOr<std::shared_ptr<const WeightPack>> PackWriter::Seal() {
  TS_RETURN_IF_ERROR(Write());
  if (ftruncate(fd_, static_cast<off_t>(end_)) != 0)
    return ErrnoStatus(errno, "cannot write", temporary());
  {
    TS_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(temporary()));
    for (PackPiece& piece : directory_.pieces)
      piece.sample = PackSample(file.bytes().substr(piece.offset, piece.bytes));
  }
  const std::string text = EncodePackDirectory(directory_);
  TS_RETURN_IF_ERROR(WriteAt(fd_, text, end_, temporary()));
  TS_RETURN_IF_ERROR(WriteAt(fd_, EncodePackHeader(end_, text), 0, temporary()));
  return WeightPack::Open(temporary(), WeightPack::Ahead::kAll);
}

absl::Status PackWriter::Publish() {
  if (fdatasync(fd_) != 0) return ErrnoStatus(errno, "cannot sync", temporary());
  if (rename(temporary().c_str(), path_.c_str()) != 0)
    return ErrnoStatus(errno, "cannot replace", path_);
  published_ = true;
  return SyncFolderOf(path_);
}

}  // namespace tiltshift::engine
