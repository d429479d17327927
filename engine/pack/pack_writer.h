// Makes a file of packed weights, in the order in which its pieces were added: what makes a piece
// is asked for a part at a time, by all cores at once, so that no second copy is ever in memory.
//
// It is written as PATH.tmp, whose lock the writer holds, and becomes PATH when all of it is on the
// disk. A temporary file without a lock is of a process that was killed: the next writer takes it
// over.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
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

  // Writes bytes [from, from + out.size()) of a piece to `out`. Called by several threads at once.
  using Fill = std::function<void(uint64_t from, std::span<char> out)>;
  // A piece, which Write asks for. A key that is there already stays as it is, and must have that
  // size: status() says.
  void Add(const std::string& key, uint64_t bytes, Fill fill);
  // A piece as it is, written now.
  void Put(const std::string& key, std::string_view bytes);
  // What was added: fills are gone when it returns.
  absl::Status Write();
  absl::Status status() const { return status_; }

  // The pieces, complete and written: none is added after it. What it returns may be used at once.
  absl::StatusOr<std::shared_ptr<const WeightPack>> Seal();
  // After Seal: waits for the disk, then gives the file its name.
  absl::Status Publish();

 private:
  struct Filled {
    uint64_t offset, bytes;
    Fill fill;
  };
  PackWriter(std::string path, int fd, PackDirectory what);
  // False: it has a place already, or another size.
  bool Place(const std::string& key, uint64_t bytes);
  std::string temporary() const { return path_ + ".tmp"; }

  const std::string path_;
  const int fd_;
  PackDirectory directory_;
  uint64_t end_ = kPackHeaderBytes;
  std::vector<Filled> filled_;             // not yet written
  std::map<std::string, uint64_t> known_;  // their sizes
  absl::Status status_;
  bool published_ = false;
};

}  // namespace tiltshift::engine
