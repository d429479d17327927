#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <iterator>
#include <optional>
#include <utility>
#include <vector>

namespace tiltshift {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

std::string TemporaryName(const std::string& path) {
  static std::atomic<uint64_t> counter{0};
  return absl::StrCat(path, ".tmp-", getpid(), "-", counter.fetch_add(1));
}

absl::Status WriteAll(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, "cannot write", path);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  if (fdatasync(fd) != 0) return ErrnoStatus(errno, "cannot sync", path);
  return absl::OkStatus();
}

absl::Status WriteTemporary(const std::string& temporary, std::string_view bytes, unsigned mode) {
  Descriptor fd(open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (fd.get() < 0) return ErrnoStatus(errno, "cannot create", temporary);
  return WriteAll(fd.get(), bytes, temporary);
}

absl::StatusOr<Written> PutInPlace(const std::string& temporary, const std::string& path,
                                   IfPresent if_present) {
  if (if_present == IfPresent::kKeep) {
    if (link(temporary.c_str(), path.c_str()) == 0) return Written::kCreated;
    if (errno == EEXIST) return Written::kKept;
    return ErrnoStatus(errno, "cannot create", path);
  }
  const bool present = access(path.c_str(), F_OK) == 0;
  if (rename(temporary.c_str(), path.c_str()) != 0)
    return ErrnoStatus(errno, "cannot replace", path);
  return present ? Written::kReplaced : Written::kCreated;
}

// Its entries are on the disk then. Where the file system can't (EINVAL), or the folder may be
// written but not read, they get there in their own time.
absl::Status SyncFolder(const std::string& folder) {
  Descriptor fd(open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0 && errno == EACCES) return absl::OkStatus();
  if (fd.get() < 0) return ErrnoStatus(errno, "cannot open folder", folder);
  if (fsync(fd.get()) != 0 && errno != EINVAL)
    return ErrnoStatus(errno, "cannot sync folder", folder);
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadAll(int fd, const std::string& path, size_t limit_bytes) {
  std::string bytes;
  char block[1 << 16];
  for (;;) {
    const ssize_t n = read(fd, block, sizeof(block));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, "cannot read", path);
    if (n == 0) return bytes;
    if (bytes.size() + static_cast<size_t>(n) > limit_bytes) {
      return absl::ResourceExhaustedError(
          absl::StrCat(path, " is larger than the limit of ", limit_bytes, " bytes"));
    }
    bytes.append(block, static_cast<size_t>(n));
  }
}

uintptr_t PageBytes() { return static_cast<uintptr_t>(sysconf(_SC_PAGESIZE)); }

}  // namespace

absl::StatusOr<std::string> ReadFile(const std::string& path, size_t limit_bytes) {
  Descriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return ErrnoStatus(errno, "cannot open", path);
  return ReadAll(fd.get(), path, limit_bytes);
}

absl::StatusOr<std::string> ReadFileBelow(const std::string& folder, const std::string& path,
                                          size_t limit_bytes) {
  const auto bad = [&](const char* what) {
    return absl::InvalidArgumentError(absl::StrCat(path, " ", what));
  };
  const std::filesystem::path parts(path);
  if (path.empty() || parts.is_absolute()) return bad("is no path below the folder");
  std::optional<Descriptor> at(std::in_place, open(folder.empty() ? "." : folder.c_str(),
                                                   O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (at->get() < 0) return ErrnoStatus(errno, "cannot open folder", folder);
  for (auto part = parts.begin(); part != parts.end(); ++part) {
    if (*part == ".." || part->empty()) return bad("leads out of the folder");
    const bool last = std::next(part) == parts.end();
    // Not a pipe's other end to wait for.
    const int flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | (last ? O_NONBLOCK : O_DIRECTORY);
    const int fd = openat(at->get(), part->c_str(), flags);
    if (fd < 0 && (errno == ELOOP || errno == ENOTDIR))
      return bad("has a symbolic link in it, or a file where a folder should be");
    if (fd < 0) return ErrnoStatus(errno, "cannot open", path);
    at.emplace(fd);
  }
  struct stat status {};
  if (fstat(at->get(), &status) != 0) return ErrnoStatus(errno, "cannot look at", path);
  if (!S_ISREG(status.st_mode)) return bad("is no ordinary file");
  return ReadAll(at->get(), path, limit_bytes);
}

absl::Status RemoveFile(const std::string& path) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  const std::string left_over = std::filesystem::path(path).filename().string() + ".tmp-";
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder.empty() ? "." : folder, error), end;
       !error && it != end; it.increment(error)) {
    if (it->path().filename().string().starts_with(left_over)) unlink(it->path().c_str());
  }
  if (unlink(path.c_str()) != 0 && errno != ENOENT)
    return ErrnoStatus(errno, "cannot delete", path);
  if (error.value() == ENOENT) return absl::OkStatus();
  return SyncFolder(folder.string());
}

absl::Status MakeFolders(const std::string& path) {
  std::vector<std::filesystem::path> missing;
  std::error_code error;
  for (std::filesystem::path folder = path;
       !folder.empty() && !std::filesystem::is_directory(folder, error);
       folder = folder.parent_path())
    missing.push_back(folder);
  for (auto folder = missing.rbegin(); folder != missing.rend(); ++folder) {
    std::filesystem::create_directory(*folder, error);
    if (error) return ErrnoStatus(error.value(), "cannot make folder", path);
    TS_RETURN_IF_ERROR(SyncFolder(folder->parent_path().string()));
  }
  return absl::OkStatus();
}

absl::StatusOr<Written> WriteFileAtomic(const std::string& path, std::string_view bytes,
                                        IfPresent if_present, unsigned mode) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  if (!folder.empty()) TS_RETURN_IF_ERROR(MakeFolders(folder));
  const std::string temporary = TemporaryName(path);
  const absl::Status written = WriteTemporary(temporary, bytes, mode);
  absl::StatusOr<Written> placed =
      written.ok() ? PutInPlace(temporary, path, if_present) : absl::StatusOr<Written>(written);
  unlink(temporary.c_str());
  if (placed.ok()) TS_RETURN_IF_ERROR(SyncFolder(folder));
  return placed;
}

absl::Status LinkOrCopy(const std::string& from, const std::string& to) {
  if (link(from.c_str(), to.c_str()) == 0) return absl::OkStatus();
  if (errno == EEXIST) {
    const std::string temporary = TemporaryName(to);
    if (link(from.c_str(), temporary.c_str()) == 0) {
      const int renamed = rename(temporary.c_str(), to.c_str()) == 0 ? 0 : errno;
      unlink(temporary.c_str());  // still there where both names were one file already
      return renamed == 0 ? absl::OkStatus() : ErrnoStatus(renamed, "cannot replace", to);
    }
  }
  if (errno != EXDEV && errno != EPERM && errno != EMLINK && errno != EOPNOTSUPP)
    return ErrnoStatus(errno, "cannot link", to);
  TS_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(from));
  return WriteFileAtomic(to, bytes, IfPresent::kReplace).status();
}

void MappedFile::Fetch(std::string_view bytes) {
#ifdef MADV_POPULATE_READ  // Linux 5.14
  const uintptr_t page = PageBytes();
  const auto begin = reinterpret_cast<uintptr_t>(bytes.data()) / page * page;
  const auto end = reinterpret_cast<uintptr_t>(bytes.data()) + bytes.size();
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_POPULATE_READ);
#endif
}

void MappedFile::Release(std::string_view bytes) {
  const uintptr_t page = PageBytes();
  const auto begin = (reinterpret_cast<uintptr_t>(bytes.data()) + page - 1) / page * page;
  const auto end = (reinterpret_cast<uintptr_t>(bytes.data()) + bytes.size()) / page * page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

void MappedFile::UseLargePages() const {
  if (data_ != nullptr) madvise(const_cast<char*>(data_), size_, MADV_HUGEPAGE);
}

absl::StatusOr<MappedFile> MappedFile::Open(const std::string& path) {
  Descriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return ErrnoStatus(errno, "cannot open", path);
  struct stat info;
  if (fstat(fd.get(), &info) != 0) return ErrnoStatus(errno, "cannot stat", path);
  if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError(path + " is not a regular file");
  if (info.st_size == 0) return MappedFile(nullptr, 0);
  void* data =
      mmap(nullptr, static_cast<size_t>(info.st_size), PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (data == MAP_FAILED) return ErrnoStatus(errno, "cannot map", path);
  return MappedFile(static_cast<const char*>(data), static_cast<size_t>(info.st_size));
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<char*>(data_), size_);
}

}  // namespace tiltshift
