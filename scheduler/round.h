// A round of a FarmLoop, for the files that it is made of.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "scheduler/farm_loop.h"

namespace tiltshift::scheduler {

// One round: what the events decided, and what to do when Redis has it.
struct FarmLoop::Round {
  Farm& farm;
  int64_t now_ms;
  Batch batch;
  std::vector<store::Write> first;  // submissions and cancellations, after the commits
  std::vector<std::function<void(const store::RedisReply&)>> first_done;
  std::vector<Outgoing> messages;
  std::vector<std::function<void()>> when_durable;

  // The answer to a turn.
  struct Ack {
    std::shared_ptr<WorkerStream> stream;
    v1::SchedulerMessage message;
    int64_t received_ms;
  };
  std::vector<Ack> acks;
  std::unordered_map<const WorkerStream*, size_t> last_ack;  // of each stream, in `acks`
};

}  // namespace tiltshift::scheduler
