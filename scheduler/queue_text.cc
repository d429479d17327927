#include "scheduler/queue_text.h"

#include <nlohmann/json.hpp>

namespace tiltshift::scheduler {

std::string TextOf(const Farm::Queue& queue) {
  nlohmann::json loads = nlohmann::json::array();
  for (const Farm::Load& load : queue.loads) {
    loads.push_back({{"model", load.model},
                     {"device", load.device},
                     {"waiting_seconds", load.waiting_seconds},
                     {"remaining_seconds", load.remaining_seconds}});
  }
  return loads.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::optional<Farm::Queue> QueueOf(const std::string& text) {
  const auto loads = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!loads.is_array()) return std::nullopt;
  Farm::Queue queue;
  try {
    for (const auto& load : loads)
      queue.loads.push_back({load.at("model"), load.at("device"), load.at("waiting_seconds"),
                             load.at("remaining_seconds")});
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
  return queue;
}

}  // namespace tiltshift::scheduler
