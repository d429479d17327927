// A file of packed weights, mapped: what one worker of a machine packed lies in memory once for all
// of them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "base/file.h"
#include "base/status.h"
#include "engine/pack/pack_format.h"

namespace tiltshift::engine {

// Immutable; any thread. The file may be replaced or unlinked meanwhile, but not written to.
class WeightPack {
 public:
  // NotFound: there is none. DataLoss: damaged, or of other contents than its name says.
  // PermissionDenied: somebody else could have written it. kAll: a thread of its own fetches all of
  // it from the disk from now on, ahead of who reads it.
  enum class Ahead : uint8_t { kNothing, kAll };
  static absl::StatusOr<std::shared_ptr<const WeightPack>> Open(const std::string& path,
                                                                Ahead ahead = Ahead::kNothing);

  // Null where it has no such piece, or one of another size.
  const char* Find(std::string_view key, uint64_t bytes) const;

  const PackDirectory& directory() const { return directory_; }
  uint64_t file_bytes() const { return file_.bytes().size(); }

 private:
  WeightPack(MappedFile file, PackDirectory directory);
  void FetchAll();

  MappedFile file_;
  PackDirectory directory_;
  std::map<std::string_view, std::string_view> pieces_;  // of directory_'s keys, of file_'s bytes
  std::jthread fetching_;                                // ends before the file does
};

}  // namespace tiltshift::engine
