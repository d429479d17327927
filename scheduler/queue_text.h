// What there is to do, as the leader keeps it in Redis for those that stand by (docs/redis.md).
#pragma once

#include <optional>
#include <string>

#include "scheduler/farm.h"

namespace tiltshift::scheduler {

std::string TextOf(const Farm::Queue& queue);
// Nothing where it is none.
std::optional<Farm::Queue> QueueOf(const std::string& text);

}  // namespace tiltshift::scheduler
