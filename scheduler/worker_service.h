// The workers' service: a stream a worker, its messages passed to the loop and the loop's back.
#pragma once

#include "monitoring/metrics.h"
#include "scheduler/call_server.h"
#include "scheduler/farm_loop.h"

namespace tiltshift::scheduler {

// v1::Workers, as a method of `server`.
void AddWorkerService(CallServer& server, FarmLoop& loop, monitoring::SchedulerMetrics& metrics);

}  // namespace tiltshift::scheduler
