// Makes a file of packed weights, in which its pieces lie in the order in which they were added:
// what makes a piece is asked for a part at a time, by all cores at once, so that no second copy is
// ever in memory.
//
// It is written as PATH.tmp, whose lock the writer holds, and becomes PATH when all of it is on the
// disk. A temporary file without a lock is of a process that was killed: the next writer takes it
// over.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
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
  enum class Parts : uint8_t { kAny, kAll };  // kAll: it is asked for in one
  struct Source {
    Fill fill;  // its `out` begins at a multiple of 64 bytes
    Parts parts = Parts::kAny;
    const char* at = nullptr;  // what it reads: pieces are asked for in this order
  };
  // A piece, which Write asks for. A key that is there already stays as it is, and must have that
  // size: status() says.
  void Add(const std::string& key, uint64_t bytes, Source source);
  // What was added: fills are gone when it returns. What they throw ends it.
  absl::Status Write();
  absl::Status status() const { return status_; }

  // The pieces, complete and written: none is added after it. What it returns may be used at once.
  absl::StatusOr<std::shared_ptr<const WeightPack>> Seal();
  // After Seal: waits for the disk, then gives the file its name.
  absl::Status Publish();

 private:
  struct Filled {
    uint64_t offset, bytes;
    Source source;
  };
  struct alignas(64) Line {
    char bytes[64];
  };
  PackWriter(std::string path, int fd, PackDirectory what);
  // Makes bytes [from, to) of the file in `lines`, and writes them.
  absl::Status WritePart(const Filled& piece, uint64_t from, uint64_t to, std::vector<Line>& lines);
  std::string temporary() const { return path_ + ".tmp"; }

  const std::string path_;
  const int fd_;
  PackDirectory directory_;
  uint64_t end_ = kPackHeaderBytes;
  std::vector<Filled> filled_;             // not yet written
  std::map<std::string, uint64_t> known_;  // their sizes
  absl::Status status_;
  bool published_ = false;
  // File systems let one thread write to a file; those that wait in one for another spin.
  std::mutex writing_;
};

}  // namespace tiltshift::engine
