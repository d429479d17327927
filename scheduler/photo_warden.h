// Sees to it that photos die: a thread that looks, while this scheduler leads, which of them are
// not needed any more. A photo goes when every entry that is made from it has ended, when its job
// is cancelled, at its time limit, and when nobody has submitted a job for it within a day.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "scheduler/farm_loop.h"
#include "scheduler/photo_rows.h"
#include "scheduler/photo_vault.h"

namespace tiltshift::scheduler {

class PhotoWarden {
 public:
  PhotoWarden(FarmLoop& loop, PhotoVault& vault, PhotoRows& rows, const Clock& clock)
      : loop_(loop), vault_(vault), rows_(rows), clock_(clock) {}
  ~PhotoWarden() { Stop(); }

  void Start();
  void Stop();

 private:
  using Photos = std::vector<KeptPhoto>;
  void Run();
  bool Wait(int ms);  // false: it is to stop
  absl::Status Look();
  // Of one job, or of none ("").
  void LookAtJob(const std::string& job_id, const Photos& photos);
  absl::Status LookAtEntries(const v1::Job& job, const Photos& photos);
  absl::Status Destroy(const Photos& photos, const v1::Job* job, const std::string& why);

  FarmLoop& loop_;
  PhotoVault& vault_;
  PhotoRows& rows_;
  const Clock& clock_;
  int64_t listed_ms_ = 0;
  std::string said_;
  std::map<std::string, std::pair<uint64_t, size_t>> looked_at_;  // job: its ended variants, photos
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace tiltshift::scheduler
