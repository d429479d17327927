#include "store/blob_store.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <filesystem>

#include "base/disk.h"
#include "base/file.h"

namespace tiltshift::store {
namespace {

namespace fs = std::filesystem;

// Output names may hold any character a file name may; what must not happen is a way out of the
// root.
absl::Status CheckKey(const std::string& key) {
  const auto bad = absl::InvalidArgumentError(absl::StrCat("\"", key, "\" is no blob key"));
  if (key.empty() || key.size() > 1024 || key[0] == '/') return bad;
  for (const unsigned char c : key) {
    if (c < 0x20 || c == 0x7f || c == '\\') return bad;
  }
  for (const fs::path& part : fs::path(key)) {
    if (part == "." || part == "..") return bad;
  }
  return absl::OkStatus();
}

class FileBlobStore : public BlobStore {
 public:
  FileBlobStore(std::string root, uint64_t keep_free)
      : root_(std::move(root)), keep_free_(keep_free) {}

  absl::StatusOr<bool> PutIfAbsent(const std::string& key, std::string_view bytes) override {
    TS_RETURN_IF_ERROR(CheckKey(key));
    if (keep_free_ > 0) TS_RETURN_IF_ERROR(CheckRoom(root_, bytes.size(), keep_free_));
    TS_ASSIGN_OR_RETURN(const Written written, WriteFileAtomic(Path(key), bytes, IfPresent::kKeep));
    return written == Written::kCreated;
  }

  absl::StatusOr<std::string> Get(const std::string& key) override {
    TS_RETURN_IF_ERROR(CheckKey(key));
    return ReadFile(Path(key));
  }

  absl::StatusOr<std::vector<std::string>> List(const std::string& prefix) override {
    TS_RETURN_IF_ERROR(CheckKey(prefix));
    std::vector<std::string> keys;
    std::error_code error;
    for (fs::recursive_directory_iterator it(Path(prefix), error), end; it != end;
         it.increment(error)) {
      const std::string name = it->path().filename().string();
      std::error_code gone;  // a temporary file may be, by now
      if (name.find(".tmp-") == std::string::npos && it->is_regular_file(gone)) {
        keys.push_back(it->path().lexically_relative(root_).string());
      }
      if (error) break;
    }
    if (error && error.value() != ENOENT)
      return ErrnoStatus(error.value(), "cannot list", Path(prefix));
    std::sort(keys.begin(), keys.end());
    return keys;
  }

  absl::Status Delete(const std::string& key) override {
    TS_RETURN_IF_ERROR(CheckKey(key));
    if (unlink(Path(key).c_str()) != 0 && errno != ENOENT)
      return ErrnoStatus(errno, "cannot delete", Path(key));
    return absl::OkStatus();
  }

 private:
  std::string Path(const std::string& key) const { return absl::StrCat(root_, "/", key); }
  const std::string root_;
  const uint64_t keep_free_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<BlobStore>> OpenFileBlobStore(const std::string& root,
                                                             uint64_t keep_free) {
  TS_RETURN_IF_ERROR(MakeFolders(root));
  const std::string probe = absl::StrCat(root, "/.writable-", getpid());
  const auto written = WriteFileAtomic(probe, "", IfPresent::kReplace);
  unlink(probe.c_str());
  if (!written.ok()) return Annotate(written.status(), "the blob store can't be written");
  return std::make_unique<FileBlobStore>(fs::path(root).lexically_normal().string(), keep_free);
}

}  // namespace tiltshift::store
