// Makes a file of packed weights in place: what packs writes into the file's own pages, so that no
// second copy is ever in memory.
//
// It is written as PATH.tmp, whose lock the writer holds, and becomes PATH when all of it is on the
// disk. A temporary file without a lock is of a process that was killed: the next writer takes it
// over.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "engine/pack/pack_format.h"
#include "engine/pack/weight_pack.h"

namespace tiltshift::engine {

// Used by one thread at a time.
class PackWriter {
 public:
  // Unavailable: another process writes this one now.
  static absl::StatusOr<std::unique_ptr<PackWriter>> Create(const std::string& path,
                                                            PackDirectory what);
  ~PackWriter();  // where it was not published, nothing stays

  // Room for a piece, aligned to kPackAlignment, or what it was given before. Null: the disk is
  // full, or a key comes back with another size; status() says.
  char* New(const std::string& key, uint64_t bytes);
  absl::Status status() const { return status_; }

  // The pieces, complete: no New after it. What it returns may be used at once.
  absl::StatusOr<std::shared_ptr<const WeightPack>> Seal();
  // After Seal: waits for the disk, then gives the file its name.
  absl::Status Publish();

 private:
  struct Slab {
    char* data;
    uint64_t offset, bytes, used;
  };
  PackWriter(std::string path, int fd, PackDirectory what);
  absl::Status AddSlab(uint64_t bytes);
  std::string temporary() const { return path_ + ".tmp"; }

  const std::string path_;
  const int fd_;
  PackDirectory directory_;
  std::vector<Slab> slabs_;
  std::map<std::string, std::pair<char*, uint64_t>> known_;
  absl::Status status_;
  bool published_ = false;
};

}  // namespace tiltshift::engine
