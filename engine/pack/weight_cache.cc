#include "engine/pack/weight_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <utility>
#include <vector>

#include "base/disk.h"
#include "base/file.h"
#include "base/hash.h"

namespace tiltshift::engine {
namespace {

namespace fs = std::filesystem;

constexpr size_t kShortHash = 16;
constexpr auto kPatience = std::chrono::minutes(2);
constexpr auto kLook = std::chrono::milliseconds(20);
constexpr char kHashFirstLine[] = "tiltshift model hash 3";

// The folder's last name, as a file's name may begin.
std::string NameOf(const std::string& model) {
  std::string name = fs::path(model).lexically_normal().filename();
  if (name.empty()) name = fs::path(model).lexically_normal().parent_path().filename();
  if (name.size() > 64) name.resize(64);
  for (char& c : name) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    if (!plain && c != '-' && c != '.') c = '_';
  }
  return name.empty() || name[0] == '.' ? "model" + name : name;
}

std::string HashText(const std::string& identity, const std::string& hash) {
  const std::string text = absl::StrCat(kHashFirstLine, "\n", identity, "\n", hash, "\n");
  return absl::StrCat(text, Sha256Hex(text), "\n");
}

std::string HashPath(const std::string& folder, const std::string& model,
                     const std::string& identity) {
  return absl::StrCat(folder, "/", NameOf(model), "-", identity.substr(0, kShortHash), ".hash");
}

// Touched, so that what is used stays.
void Touch(const std::string& path) { utimensat(AT_FDCWD, path.c_str(), nullptr, 0); }

struct Kept {
  fs::path path;
  uint64_t bytes = 0;
  fs::file_time_type used;
};

std::vector<Kept> FilesOf(const std::string& folder, const char* ending) {
  std::vector<Kept> files;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    if (!at->path().string().ends_with(ending)) continue;
    std::error_code gone;
    Kept file{at->path(), at->file_size(gone), at->last_write_time(gone)};
    if (!gone) files.push_back(std::move(file));
  }
  return files;
}

// A temporary file whose writer was killed: nobody has its lock.
void RemoveIfAbandoned(const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return;
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) unlink(path.c_str());
  close(fd);
}

}  // namespace

WeightCache::~WeightCache() {
  if (publishing_.joinable()) publishing_.join();
}

std::optional<std::string> WeightCache::KnownHash(const std::string& model,
                                                  const std::string& identity) const {
  const std::string path = HashPath(options_.folder, model, identity);
  const auto text = ReadFile(path, 4096);
  if (!text.ok()) return std::nullopt;
  const size_t first = sizeof(kHashFirstLine) + identity.size() + 1, digits = 64;
  if (text->size() < first + digits) return std::nullopt;
  const std::string hash = text->substr(first, digits);
  if (*text != HashText(identity, hash)) return std::nullopt;
  Touch(path);
  return hash;
}

void WeightCache::RememberHash(const std::string& model, const std::string& identity,
                               const std::string& hash) {
  const auto written = WriteFileAtomic(HashPath(options_.folder, model, identity),
                                       HashText(identity, hash), IfPresent::kReplace);
  if (!written.ok())
    options_.log(absl::StrCat("the hash of ", model, " is not kept: ", Message(written.status())));
}

std::string WeightCache::PathOf(const Wanted& wanted) const {
  const std::string id = Sha256Hex(absl::StrCat(wanted.identity, "\n", wanted.packing));
  return absl::StrCat(options_.folder, "/", NameOf(wanted.model), "-", id.substr(0, kShortHash),
                      ".pack");
}

absl::StatusOr<std::shared_ptr<const WeightPack>> WeightCache::Look(const Wanted& wanted) const {
  const std::string path = PathOf(wanted);
  TS_ASSIGN_OR_RETURN(auto pack, WeightPack::Open(path, WeightPack::Ahead::kAll));
  const PackDirectory& directory = pack->directory();
  if (directory.identity != wanted.identity || directory.packing != wanted.packing)
    return absl::DataLossError(path +
                               ": of another model or packing; it is made anew from the model");
  Touch(path);
  return pack;
}

std::shared_ptr<const WeightPack> WeightCache::Find(const Wanted& wanted) const {
  auto pack = Look(wanted);
  if (pack.ok()) return *std::move(pack);
  if (!absl::IsNotFound(pack.status())) options_.log(Message(pack.status()));
  return nullptr;
}

std::shared_ptr<const WeightPack> WeightCache::Make(
    const Wanted& wanted, const std::function<absl::Status(PackWriter&)>& pack) {
  auto made = Write(wanted, pack);
  if (made.ok()) return *std::move(made);
  options_.log(absl::StrCat("the packed weights of ", wanted.model,
                            " are this process' own: ", Message(made.status())));
  return nullptr;
}

absl::StatusOr<std::unique_ptr<PackWriter>> WeightCache::CreateWhenFree(const Wanted& wanted) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    auto writer =
        PackWriter::Create(PathOf(wanted), {wanted.packing, wanted.identity, wanted.model, {}});
    if (writer.ok() || !absl::IsUnavailable(writer.status())) return writer;
    if (std::chrono::steady_clock::now() > deadline) return writer.status();
    std::this_thread::sleep_for(kLook);
  }
}

absl::StatusOr<std::shared_ptr<const WeightPack>> WeightCache::Write(
    const Wanted& wanted, const std::function<absl::Status(PackWriter&)>& pack) {
  std::lock_guard lock(mutex_);
  std::error_code error;  // nothing waits for the disk: the next start may find no folder
  fs::create_directories(options_.folder, error);
  if (error) return ErrnoStatus(error.value(), "cannot make folder", options_.folder);
  TS_RETURN_IF_ERROR(CheckRoom(options_.folder, wanted.bytes, options_.keep_free));
  TS_ASSIGN_OR_RETURN(std::unique_ptr<PackWriter> writer, CreateWhenFree(wanted));
  if (auto found = Look(wanted); found.ok()) return found;  // made while this one waited
  const absl::Status packed = pack(*writer);
  TS_RETURN_IF_ERROR(writer->status());
  TS_RETURN_IF_ERROR(packed);
  TS_ASSIGN_OR_RETURN(auto sealed, writer->Seal());
  PublishLater(std::move(writer), wanted);
  return sealed;
}

void WeightCache::PublishLater(std::unique_ptr<PackWriter> writer, const Wanted& wanted) {
  if (publishing_.joinable()) publishing_.join();
  publishing_ = std::thread([this, writer = std::move(writer), wanted] {
    const absl::Status published = writer->Publish();
    if (published.ok()) return ClearUp(wanted);
    options_.log(absl::StrCat("the packed weights of ", wanted.model,
                              " are not kept: ", Message(published)));
  });
}

// Packs of what the model was before, then those used longest ago, then what killed writers left.
void WeightCache::ClearUp(const Wanted& made) const {
  const std::string own = PathOf(made);
  std::vector<Kept> packs = FilesOf(options_.folder, ".pack");
  std::sort(packs.begin(), packs.end(),
            [](const Kept& a, const Kept& b) { return a.used > b.used; });
  uint64_t bytes = 0;
  for (const Kept& file : packs) {
    bool stale = bytes + file.bytes > options_.most_bytes && file.path != own;
    if (!stale && file.path != own) {
      const auto pack = WeightPack::Open(file.path);
      stale = pack.ok() && (*pack)->directory().model == made.model &&
              (*pack)->directory().identity != made.identity;
    }
    std::error_code ignored;
    if (stale) fs::remove(file.path, ignored);
    if (!stale) bytes += file.bytes;
  }
  for (const Kept& file : FilesOf(options_.folder, ".pack.tmp")) RemoveIfAbandoned(file.path);
  const auto old = fs::file_time_type::clock::now() - std::chrono::hours(24 * 90);
  for (const Kept& file : FilesOf(options_.folder, ".hash")) {
    std::error_code ignored;
    if (file.used < old) fs::remove(file.path, ignored);
  }
}

std::string DefaultWeightCacheFolder() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && cache[0] == '/') return absl::StrCat(cache, "/tiltshift/weights");
  const char* home = std::getenv("HOME");
  return home != nullptr && home[0] == '/' ? absl::StrCat(home, "/.cache/tiltshift/weights") : "";
}

}  // namespace tiltshift::engine
