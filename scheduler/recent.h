// What was asked for last, kept while it fits: of each thing its weight counts, and what was not
// asked for longest goes first. Any thread.
#pragma once

#include <cstddef>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace tiltshift::scheduler {

template <typename Value>
class Recent {
 public:
  explicit Recent(size_t most) : most_(most) {}

  // Null where it is not kept.
  std::shared_ptr<const Value> Find(const std::string& key) {
    std::lock_guard lock(mutex_);
    const auto found = places_.find(key);
    if (found == places_.end()) return nullptr;
    order_.splice(order_.begin(), order_, found->second);
    return found->second->value;
  }
  void Keep(const std::string& key, std::shared_ptr<const Value> value, size_t weight) {
    std::lock_guard lock(mutex_);
    if (places_.contains(key) || weight > most_) return;
    order_.push_front({key, std::move(value), weight});
    places_[key] = order_.begin();
    weight_ += weight;
    while (weight_ > most_) {
      weight_ -= order_.back().weight;
      places_.erase(order_.back().key);
      order_.pop_back();
    }
  }

 private:
  struct Kept {
    std::string key;
    std::shared_ptr<const Value> value;
    size_t weight;
  };
  const size_t most_;
  std::mutex mutex_;
  std::list<Kept> order_;  // the last asked for first
  std::map<std::string, typename std::list<Kept>::iterator> places_;
  size_t weight_ = 0;
};

}  // namespace tiltshift::scheduler
