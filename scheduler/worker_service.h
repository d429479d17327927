// The workers' service: a stream a worker, its messages passed to the loop and the loop's back.
#pragma once

#include "monitoring/metrics.h"
#include "proto/worker.grpc.pb.h"
#include "scheduler/farm_loop.h"

namespace tiltshift::scheduler {

class WorkerService : public v1::Workers::CallbackService {
 public:
  WorkerService(FarmLoop& loop, monitoring::SchedulerMetrics& metrics)
      : loop_(loop), metrics_(metrics) {}
  grpc::ServerBidiReactor<v1::WorkerMessage, v1::SchedulerMessage>* Session(
      grpc::CallbackServerContext* context) override;

 private:
  FarmLoop& loop_;
  monitoring::SchedulerMetrics& metrics_;
};

}  // namespace tiltshift::scheduler
