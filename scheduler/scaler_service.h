// KEDA's external scaler (proto/externalscaler.proto): how much there is to render, so that a
// Kubernetes cluster runs as many workers as that needs, and none where there is nothing.
//
// Metadata of the trigger, all optional: `model` and `device` ("cpu", "cuda"): only jobs that such
// workers may render; `secondsPerWorker`: render seconds that a worker is started for (120).
#pragma once

#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "proto/externalscaler.pb.h"
#include "scheduler/call_server.h"
#include "scheduler/farm_loop.h"

namespace tiltshift::scheduler {

class Scaler {
 public:
  Scaler(CallServer& server, const FarmLoop& loop);
  // Tells open streams where work came or went. To be called every now and then, on one thread.
  void Look();

 private:
  class Stream;
  struct Wish {
    std::string model, device;  // empty: any
    double seconds_per_worker = 0;
  };
  static absl::StatusOr<Wish> WishOf(const externalscaler::ScaledObjectRef& ref);
  absl::StatusOr<double> RemainingSeconds(const Wish& wish) const;

  const FarmLoop& loop_;
  std::mutex mutex_;
  struct Told {
    Wish wish;
    bool active = false;
  };
  std::map<std::shared_ptr<Call>, Told> streams_;
};

}  // namespace tiltshift::scheduler
