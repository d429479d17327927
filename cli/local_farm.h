// A whole farm on this machine as child processes: a private redis-server on a unix socket, a
// scheduler, a worker. The same programs and the same path as a farm of a thousand machines. A
// child that dies is started again; all are gone when the farm goes, or when this process does,
// however it ends.
//
// Files below `folder`: redis/ (its append-only file), blobs/, logs/, lock. Sockets are in a folder
// of their own (cli/socket_folder.h).
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "cli/socket_folder.h"

namespace tiltshift::cli {

struct LocalFarmOptions {
  std::string folder;
  std::string models;
  int slots = 2;
  uint64_t keep_free_mb = 64;     // of the disk, by the worker
  std::string render = "engine";  // or noop
  std::string device = "auto";
  // With a farm key of its own, in memory alone: photos that were left behind can't be opened any
  // more.
  bool takes_photos = false;
  std::string gallery;                    // where browsers see it, "127.0.0.1:7080"; empty: nowhere
  std::string metrics;                    // the worker's /metrics address; empty: none
  std::string signing_cert, signing_key;  // files; empty: pictures are not signed
};

class LocalFarm {
 public:
  // Takes the folder's lock and starts everything. AlreadyExists where another farm has the folder.
  static absl::StatusOr<std::unique_ptr<LocalFarm>> Start(const LocalFarmOptions& options);
  ~LocalFarm();

  std::string scheduler_address() const;
  std::string blobs() const;
  // Not OK once a child has died too often; says which and what its log said last.
  absl::Status status() const;
  // The farm can't end in order any more: children get a second, not minutes, to leave.
  void GiveUp() { hopeless_ = true; }
  // What happened to children since the last call, for a person.
  std::vector<std::string> TakeNews();

 private:
  struct Child;
  explicit LocalFarm(LocalFarmOptions options);
  absl::Status Lock();
  absl::Status Prepare();
  void Supervise();
  void Look(Child& child);

  const LocalFarmOptions options_;
  SocketFolder sockets_;
  int lock_fd_ = -1;
  std::vector<std::unique_ptr<Child>> children_;  // of the supervisor's thread
  std::atomic<bool> stopping_{false}, hopeless_{false};
  mutable std::mutex mutex_;
  absl::Status status_;
  std::vector<std::string> news_;
  std::thread supervisor_;
};

}  // namespace tiltshift::cli
