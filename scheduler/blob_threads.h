// Threads for what waits for the blob store: gRPC's own few also carry the workers' heartbeats, and
// a store on another machine may take its time, or all of it.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace tiltshift::scheduler {

class BlobThreads {
 public:
  explicit BlobThreads(int count);
  // Runs what is still waiting, then ends.
  ~BlobThreads();

  // In the order of the calls, as far as threads are free.
  void Run(std::function<void()> work);

 private:
  void Loop();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> waiting_;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace tiltshift::scheduler
