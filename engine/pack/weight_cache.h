// A folder that keeps what loading a model computes: its hash and its packed weights, so that the
// next start needs neither to read nor to pack, and all workers of a machine share one copy.
//
//   NAME-<16 hex of the identity>.hash            a model's SHA-256 (text: below)
//   NAME-<16 hex of identity and packing>.pack    packed weights (pack_format.h)
//
// Nothing in it is needed: what is missing, damaged or not to be written is made in this process'
// memory, and the log says why. Files that others are reading may be removed at any time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/status.h"
#include "engine/pack/pack_writer.h"
#include "engine/pack/weight_pack.h"

namespace tiltshift::engine {

struct WeightCacheOptions {
  std::string folder;                        // made where it is missing
  uint64_t most_bytes = uint64_t{32} << 30;  // of packs; the ones used longest ago go first
  uint64_t keep_free = uint64_t{2} << 30;    // of the disk
  std::function<void(const std::string&)> log = [](const std::string&) {};
};

// Safe to use from many threads and processes.
class WeightCache {
 public:
  explicit WeightCache(WeightCacheOptions options) : options_(std::move(options)) {}
  ~WeightCache();  // waits for what is on its way to the disk

  // `identity`: ModelIdentity's.
  std::optional<std::string> KnownHash(const std::string& model, const std::string& identity) const;
  void RememberHash(const std::string& model, const std::string& identity, const std::string& hash);

  // What to find or make: `model` is the model's folder; see PackDirectory.
  struct Wanted {
    std::string model, identity, packing;
    uint64_t bytes = 0;  // about as many as it will take
  };
  // Null where there is none that is sound; logged where there is another.
  std::shared_ptr<const WeightPack> Find(const Wanted& wanted) const;
  // Has `pack` write it; where another process is at it, waits for that one's. Null, and logged: it
  // could not be kept. The file gets its name when the disk has it, on a thread of its own.
  std::shared_ptr<const WeightPack> Make(const Wanted& wanted,
                                         const std::function<absl::Status(PackWriter&)>& pack);
  // Where that one lies, or would.
  std::string PathOf(const Wanted& wanted) const;

 private:
  absl::StatusOr<std::shared_ptr<const WeightPack>> Look(const Wanted& wanted) const;
  absl::StatusOr<std::shared_ptr<const WeightPack>> Write(
      const Wanted& wanted, const std::function<absl::Status(PackWriter&)>& pack);
  absl::StatusOr<std::unique_ptr<PackWriter>> CreateWhenFree(const Wanted& wanted);
  void PublishLater(std::unique_ptr<PackWriter> writer, const Wanted& wanted);
  void ClearUp(const Wanted& made) const;

  const WeightCacheOptions options_;
  std::mutex mutex_;
  std::thread publishing_;
};

// $XDG_CACHE_HOME/tiltshift/weights, or ~/.cache/tiltshift/weights; empty where the user has no
// home.
std::string DefaultWeightCacheFolder();

}  // namespace tiltshift::engine
