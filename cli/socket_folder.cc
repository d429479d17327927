#include "cli/socket_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <utility>

namespace tiltshift::cli {
namespace {

namespace fs = std::filesystem;

constexpr char kPrefix[] = "tiltshift-";
constexpr size_t kRandomCharacters = 6;

std::string Base() {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  return runtime != nullptr && access(runtime, W_OK) == 0 ? runtime : "/tmp";
}

bool IsName(const std::string& name) {
  const size_t prefix = sizeof(kPrefix) - 1;
  return name.size() == prefix + kRandomCharacters && name.starts_with(kPrefix) &&
         std::all_of(name.begin() + prefix, name.end(),
                     [](unsigned char c) { return std::isalnum(c); });
}

constexpr const char* kContents[] = {"redis", "scheduler", "lock.new", "lock"};

bool HoldsOnlyOurs(const std::string& path) {
  std::error_code error;
  for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (std::find(std::begin(kContents), std::end(kContents), name) == std::end(kContents))
      return false;
  }
  return !error;
}

void RemoveFolder(int folder, const std::string& path) {
  for (const char* name : kContents) unlinkat(folder, name, 0);
  rmdir(path.c_str());
}

void RemoveIfLeft(const std::string& path) {
  const int folder = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (folder < 0) return;
  struct stat info;
  const bool ours =
      fstat(folder, &info) == 0 && info.st_uid == geteuid() && (info.st_mode & 077) == 0;
  const int lock = ours ? openat(folder, "lock", O_RDWR | O_NOFOLLOW | O_CLOEXEC) : -1;
  if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) == 0 && HoldsOnlyOurs(path))
    RemoveFolder(folder, path);
  if (lock >= 0) close(lock);
  close(folder);
}

void RemoveLeft(const std::string& base) {
  std::error_code error;
  for (fs::directory_iterator it(base, error), end; !error && it != end; it.increment(error)) {
    if (IsName(it->path().filename().string())) RemoveIfLeft(it->path().string());
  }
}

}  // namespace

absl::StatusOr<SocketFolder> SocketFolder::Make() {
  const std::string base = Base();
  RemoveLeft(base);
  std::string path = absl::StrCat(base, "/", kPrefix, std::string(kRandomCharacters, 'X'));
  if (mkdtemp(path.data()) == nullptr) return ErrnoStatus(errno, "cannot make folder", path);
  SocketFolder folder;
  folder.path_ = path;
  // It has its name once it is locked, so that nobody takes a new folder for one that was left.
  // Inherited by the farm's processes: they may outlive this one by a moment.
  const std::string fresh = path + "/lock.new", lock = path + "/lock";
  folder.lock_ = open(fresh.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
  if (folder.lock_ < 0 || flock(folder.lock_, LOCK_EX | LOCK_NB) != 0 ||
      rename(fresh.c_str(), lock.c_str()) != 0) {
    return ErrnoStatus(errno, "cannot lock", lock);
  }
  return folder;
}

SocketFolder::SocketFolder(SocketFolder&& other) noexcept
    : path_(std::exchange(other.path_, "")), lock_(std::exchange(other.lock_, -1)) {}

SocketFolder& SocketFolder::operator=(SocketFolder&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(lock_, other.lock_);
  return *this;
}

SocketFolder::~SocketFolder() {
  if (path_.empty()) return;
  const int folder = open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (folder >= 0) {
    RemoveFolder(folder, path_);
    close(folder);
  }
  if (lock_ >= 0) close(lock_);
}

}  // namespace tiltshift::cli
