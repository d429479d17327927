#include "worker/stopped_renders.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "base/hash.h"

namespace tiltshift::worker {
namespace {

constexpr size_t kHashBytes = 64;
constexpr size_t kLeasesKnown = 256;  // more than a worker holds; older tokens are over
constexpr size_t kMostListed = 100'000;

std::string FolderOf(const std::string& job_id) {
  return absl::StrCat("jobs/", job_id, "/stopped/");
}

}  // namespace

std::string BytesOf(const v1::StoppedRender& stopped) {
  const std::string message = stopped.SerializeAsString();
  return Sha256Hex(message) + message;
}

absl::StatusOr<v1::StoppedRender> ParseStoppedRender(std::string_view bytes) {
  v1::StoppedRender stopped;
  if (bytes.size() > kHashBytes) {
    const std::string_view message = bytes.substr(kHashBytes);
    if (Sha256Hex(message) == bytes.substr(0, kHashBytes) &&
        stopped.ParseFromArray(message.data(), static_cast<int>(message.size())))
      return stopped;
  }
  return absl::DataLossError("a stopped render's state is damaged");
}

// <variant>-<step>-<token>.binpb
StoppedRenders::KeysOfVariants StoppedRenders::List(const std::string& job_id) {
  KeysOfVariants found;
  const std::string folder = FolderOf(job_id);
  const auto keys = blobs_.ListSome(folder, kMostListed);
  if (!keys.ok()) {
    spdlog::warn("job {}: stopped renders are begun anew: {}", job_id, Message(keys.status()));
    return found;
  }
  for (const std::string& key : *keys) {
    const std::vector<std::string> parts = absl::StrSplit(key.substr(folder.size()), '-');
    uint64_t index = 0;
    uint32_t step = 0;
    if (parts.size() == 3 && absl::SimpleAtoi(parts[0], &index) &&
        absl::SimpleAtoi(parts[1], &step))
      found[index].push_back({step, key});
  }
  for (auto& [index, of_variant] : found) {
    std::ranges::stable_sort(of_variant, std::ranges::greater(), &Key::step);
  }
  return found;
}

std::vector<StoppedRenders::Key> StoppedRenders::KeysOf(const Work& work) {
  std::lock_guard lock(mutex_);
  auto lease = leases_.find(work.token);
  if (lease == leases_.end()) {
    lease = leases_.emplace(work.token, List(work.job_id)).first;
    if (leases_.size() > kLeasesKnown) leases_.erase(leases_.begin());
  }
  const auto keys = lease->second.find(work.index);
  return keys == lease->second.end() ? std::vector<Key>() : keys->second;
}

std::vector<v1::StoppedRender> StoppedRenders::Of(const Work& work) {
  std::vector<v1::StoppedRender> all;
  for (const Key& key : KeysOf(work)) {
    const auto bytes = blobs_.Get(key.key);
    auto stopped = bytes.ok() ? ParseStoppedRender(*bytes) : bytes.status();
    if (stopped.ok()) {
      all.push_back(*std::move(stopped));
    } else {
      spdlog::warn("{} is not gone on from: {}", key.key, Message(stopped.status()));
    }
  }
  return all;
}

absl::Status StoppedRenders::Keep(const Work& work, const v1::StoppedRender& stopped) {
  const std::string key = absl::StrCat(FolderOf(work.job_id), work.index, "-", stopped.step(), "-",
                                       work.token, ".binpb");
  return blobs_.PutIfAbsent(key, BytesOf(stopped)).status();
}

void StoppedRenders::Drop(const Work& work) {
  for (const Key& key : KeysOf(work)) {
    const absl::Status deleted = blobs_.Delete(key.key);
    if (!deleted.ok()) spdlog::warn("{} stays: {}", key.key, Message(deleted));
  }
}

}  // namespace tiltshift::worker
