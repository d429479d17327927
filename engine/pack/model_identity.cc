#include "engine/pack/model_identity.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <thread>
#include <vector>

#include "base/hash.h"
#include "engine/checkpoint.h"

namespace tiltshift::engine {
namespace {

constexpr int64_t kSettledNs = 100'000'000;
// Where the parts of a model lie.
constexpr const char* kFolders[] = {
    "scheduler", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "unet", "vae"};
constexpr const char* kEndings[] = {".safetensors", ".json", ".txt"};

int64_t Ns(const timespec& time) { return time.tv_sec * int64_t{1'000'000'000} + time.tv_nsec; }

bool IsRead(const std::string& name) {
  return std::any_of(std::begin(kEndings), std::end(kEndings),
                     [&](const char* end) { return name.ends_with(end); });
}

}  // namespace

absl::StatusOr<std::string> ModelIdentity(const std::string& folder) {
  std::vector<std::string> names;
  for (const char* name : {"model_index.json", kCheckpointFile}) {
    if (std::filesystem::exists(folder + "/" + name)) names.emplace_back(name);
  }
  for (const std::string part : kFolders) {
    std::error_code error;
    for (std::filesystem::directory_iterator at(folder + "/" + part, error), end;
         !error && at != end; at.increment(error)) {
      const std::string name = at->path().filename();
      if (IsRead(name)) names.push_back(part + "/" + name);
    }
  }
  std::sort(names.begin(), names.end());
  std::string text;
  int64_t newest = 0;
  bool weights = false;
  for (const std::string& name : names) {
    struct stat info;
    const std::string path = folder + "/" + name;
    if (stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, "cannot stat", path);
    absl::StrAppend(&text, name.size(), " ", name, " ", info.st_size, " ", Ns(info.st_mtim), " ",
                    Ns(info.st_ctim), " ", info.st_ino, "\n");
    newest = std::max({newest, Ns(info.st_mtim), Ns(info.st_ctim)});
    weights |= name.ends_with(".safetensors");
  }
  if (!weights) return absl::NotFoundError(folder + ": no weights");
  const int64_t now =
      std::chrono::nanoseconds(std::chrono::system_clock::now().time_since_epoch()).count();
  const int64_t wait = newest + kSettledNs - now;
  if (wait > 0 && wait <= kSettledNs) std::this_thread::sleep_for(std::chrono::nanoseconds(wait));
  return Sha256Hex(text);
}

}  // namespace tiltshift::engine
