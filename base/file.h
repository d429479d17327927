// Files read whole, mapped, or put in place whole: a reader never sees half a file, and a crash
// leaves either the old name or the new one.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/status.h"

namespace tiltshift {

// The whole file. NotFound, PermissionDenied, ... with the path in the message; ResourceExhausted
// if it is larger than `limit_bytes`.
absl::StatusOr<std::string> ReadFile(const std::string& path, size_t limit_bytes = size_t{1} << 30);

// Makes the folder and its parents, durably. OK if it is there.
absl::Status MakeFolders(const std::string& path);

enum class IfPresent { kReplace, kKeep };
enum class Written { kCreated, kReplaced, kKept };

// Writes a temporary file beside `path`, syncs it, and renames (kReplace) or links (kKeep) it to
// `path`: with kKeep the first writer wins, atomically, and later ones get kKept. Makes missing
// folders. When it returns the bytes and the name are on the disk (the folder is synced as well,
// also for kKept: the first writer may have died before it could). The temporary file is gone
// whatever happens, except when the process is killed in between; such leftovers carry ".tmp-" in
// their name. `mode`: who may read and write it, less what the umask takes.
absl::StatusOr<Written> WriteFileAtomic(const std::string& path, std::string_view bytes,
                                        IfPresent if_present, unsigned mode = 0644);

// The file `path` below the folder, which a stranger named: relative, no "..", and no part of it a
// symbolic link, so that it leads nowhere else; an ordinary file. InvalidArgument where it is none
// of that; else as ReadFile.
absl::StatusOr<std::string> ReadFileBelow(const std::string& folder, const std::string& path,
                                          size_t limit_bytes);

// The file, and what killed writers left of it; durable when it returns. OK where it is not there.
absl::Status RemoveFile(const std::string& path);

// Gives the file `from` the name `to` as well, in place of what has it: a hard link, or a copy
// where the file system has none. `to` is the old file or the new one, whole, at any moment.
absl::Status LinkOrCopy(const std::string& from, const std::string& to);

// A read-only mapping of a whole file; the bytes live as long as the object.
class MappedFile {
 public:
  static absl::StatusOr<MappedFile> Open(const std::string& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();
  std::string_view bytes() const { return {data_, size_}; }
  // It will be read whole, or over and over: in large pages, where the file system has them.
  void UseLargePages() const;

  // These bytes, which are of a mapped file, come from the disk now, if the system can: reading them
  // waits for nothing then.
  static void Fetch(std::string_view bytes);
  // The whole pages of these bytes, which are of a mapped file, leave this process' memory until they are read
  // again. Of other memory the contents would be lost.
  static void Release(std::string_view bytes);

 private:
  MappedFile(const char* data, size_t size) : data_(data), size_(size) {}
  const char* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace tiltshift
