#include "kernels/emulation/host_threads.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace tiltshift::emulation {
namespace {

class HostThreads {
 public:
  HostThreads() {
    for (unsigned i = 1; i < std::thread::hardware_concurrency(); ++i) {
      threads_.emplace_back([this] { Serve(); });
    }
  }
  ~HostThreads() {
    {
      std::lock_guard lock(mutex_);
      ending_ = true;
    }
    wanted_more_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void Run(int64_t most, const std::function<void()>& work) {
    const std::lock_guard alone(runs_);
    const int64_t others = std::min<int64_t>(most - 1, static_cast<int64_t>(threads_.size()));
    if (others > 0) {
      std::lock_guard lock(mutex_);
      work_ = &work;
      wanted_ = others;
      wanted_more_.notify_all();
    }
    work();
    std::unique_lock lock(mutex_);
    wanted_ = 0;
    all_done_.wait(lock, [&] { return busy_ == 0; });
  }

 private:
  void Serve() {
    std::unique_lock lock(mutex_);
    while (true) {
      wanted_more_.wait(lock, [&] { return wanted_ > 0 || ending_; });
      if (ending_) return;
      --wanted_;
      ++busy_;
      const std::function<void()>& work = *work_;
      lock.unlock();
      work();
      lock.lock();
      if (--busy_ == 0) all_done_.notify_all();
    }
  }

  std::mutex runs_;   // one at a time
  std::mutex mutex_;  // of what follows
  std::condition_variable wanted_more_, all_done_;
  const std::function<void()>* work_ = nullptr;
  int64_t wanted_ = 0, busy_ = 0;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace

void RunOnHost(int64_t most, const std::function<void()>& work) {
  static HostThreads threads;
  threads.Run(most, work);
}

}  // namespace tiltshift::emulation
