#include "store/blob_store.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "base/disk.h"
#include "base/file.h"
#include "store/http_client.h"
#include "store/s3_blob_store.h"

namespace tiltshift::store {
namespace {

namespace fs = std::filesystem;

constexpr size_t kLongestKey = 1024;
constexpr size_t kLongestPart = 255;  // of a file's name

absl::Status BadKey(const std::string& key) {
  return absl::InvalidArgumentError(absl::StrCat("\"", key, "\" is no blob key"));
}

class FileBlobStore : public BlobStore {
 public:
  FileBlobStore(std::string root, uint64_t keep_free)
      : root_(std::move(root)), keep_free_(keep_free) {}

  absl::StatusOr<bool> PutIfAbsent(const std::string& key, std::string_view bytes) override {
    TS_RETURN_IF_ERROR(CheckBlobKey(key));
    if (keep_free_ > 0) TS_RETURN_IF_ERROR(CheckRoom(root_, bytes.size(), keep_free_));
    TS_ASSIGN_OR_RETURN(const Written written, WriteFileAtomic(Path(key), bytes, IfPresent::kKeep));
    return written == Written::kCreated;
  }

  absl::StatusOr<std::string> Get(const std::string& key) override {
    TS_RETURN_IF_ERROR(CheckBlobKey(key));
    return ReadFile(Path(key));
  }

  absl::StatusOr<bool> Exists(const std::string& key) override {
    TS_RETURN_IF_ERROR(CheckBlobKey(key));
    std::error_code error;
    const bool there = fs::is_regular_file(Path(key), error);
    if (error && error.value() != ENOENT && error.value() != ENOTDIR)
      return ErrnoStatus(error.value(), "cannot look at", Path(key));
    return there;
  }

  absl::StatusOr<std::vector<std::string>> ListSome(const std::string& prefix,
                                                    size_t most) override {
    TS_RETURN_IF_ERROR(CheckBlobFolder(prefix));
    std::vector<std::string> keys;
    std::error_code error;
    for (fs::recursive_directory_iterator it(Path(prefix), error), end;
         it != end && keys.size() < most; it.increment(error)) {
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
    TS_RETURN_IF_ERROR(CheckBlobKey(key));
    TS_RETURN_IF_ERROR(RemoveFile(Path(key)));
    // A folder without keys is none. (One that another writes into now stays.)
    const std::string folder = fs::path(Path(key)).parent_path().string();
    if (folder != root_) rmdir(folder.c_str());
    return absl::OkStatus();
  }

 private:
  std::string Path(const std::string& key) const { return absl::StrCat(root_, "/", key); }
  const std::string root_;
  const uint64_t keep_free_;
};

}  // namespace

// Output names may hold any character a file name may; what must not happen is a way out of the
// root, or one blob under two keys.
absl::Status CheckBlobKey(const std::string& key) {
  if (key.size() > kLongestKey) return BadKey(key);
  for (const absl::string_view part : absl::StrSplit(key, '/')) {
    if (part.empty() || part.size() > kLongestPart || part == "." || part == "..")
      return BadKey(key);
  }
  for (const unsigned char c : key) {
    if (c < 0x20 || c == 0x7f || c == '\\') return BadKey(key);
  }
  return absl::OkStatus();
}

absl::Status CheckBlobFolder(const std::string& prefix) {
  if (!absl::EndsWith(prefix, "/")) return BadKey(prefix);
  return CheckBlobKey(prefix.substr(0, prefix.size() - 1));
}

absl::StatusOr<std::unique_ptr<BlobStore>> OpenBlobStore(const BlobOptions& options) {
  if (IsS3(options.where)) {
    if (const std::string version = CurlTooOldForS3(); !version.empty()) {
      return absl::UnimplementedError(
          absl::StrCat("--blobs: S3 needs libcurl 7.88 or newer, and this machine has ", version,
                       ": use a folder, or a newer system"));
    }
    TS_ASSIGN_OR_RETURN(auto address,
                        ParseS3Address(options.where, options.s3_endpoint, options.s3_region));
    return OpenS3BlobStore(std::move(address));
  }
  const size_t scheme = options.where.find("://");
  if (scheme != std::string::npos && options.where.find('/') > scheme) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--blobs: \"", options.where, "\" is neither a folder nor s3://BUCKET/PREFIX"));
  }
  TS_RETURN_IF_ERROR(CheckRoom(options.where, 0, options.keep_free));
  return OpenFileBlobStore(options.where, options.keep_free);
}

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
