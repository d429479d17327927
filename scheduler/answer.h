// Whom a caller waits for. Dropped unanswered, because the lead ended or the process does, it says
// so, and who leads, where
// that is known: gRPC waits for every call before a server can go.
#pragma once

#include <functional>
#include <utility>

#include "scheduler/farm_loop.h"

namespace tiltshift::scheduler {

template <typename Result>
class Answer {
 public:
  Answer(const FarmLoop& loop, std::function<void(Result)> done)
      : loop_(loop), done_(std::move(done)) {}
  Answer(const Answer&) = delete;
  Answer& operator=(const Answer&) = delete;
  ~Answer() {
    if (done_ == nullptr) return;
    const absl::Status leading = loop_.Leading();
    Give(leading.ok() ? NotLeading("this scheduler leads anew; try again", "") : leading);
  }
  void Give(Result result) { Take()(std::move(result)); }
  // The caller's to answer, or not, from now on.
  std::function<void(Result)> Take() { return std::exchange(done_, nullptr); }

 private:
  const FarmLoop& loop_;
  std::function<void(Result)> done_;
};

}  // namespace tiltshift::scheduler
