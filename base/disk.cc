#include "base/disk.h"

#include <sys/statvfs.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

namespace tiltshift {
namespace {

std::string Megabytes(uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f MB", static_cast<double>(bytes) / 1e6);
  return text;
}

}  // namespace

absl::StatusOr<uint64_t> FreeBytes(const std::string& path) {
  std::error_code error;
  std::filesystem::path there = std::filesystem::absolute(path, error);
  while (!error && there.has_relative_path() && !std::filesystem::exists(there, error))
    there = there.parent_path();
  struct statvfs info;
  if (statvfs(there.c_str(), &info) != 0)
    return ErrnoStatus(errno, "cannot see how full the disk is of", path);
  if (info.f_files > 0 && info.f_favail == 0) return 0;
  return uint64_t{info.f_bavail} * info.f_frsize;
}

absl::Status CheckRoom(const std::string& path, uint64_t bytes, uint64_t keep_free) {
  if (bytes + keep_free == 0) return absl::OkStatus();
  TS_ASSIGN_OR_RETURN(const uint64_t free, FreeBytes(path));
  if (free >= keep_free && free - keep_free >= bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      "the disk of ", path, " is nearly full: ", Megabytes(free), " free, of which ",
      Megabytes(keep_free),
      " are kept free (--keep-free); free some space, then run the same command again"));
}

}  // namespace tiltshift
