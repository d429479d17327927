// How a farm comes to its first token: the scheduler that leads, where no token may operate it,
// makes one that may and puts it into a file that its owner alone can read.
#pragma once

#include <atomic>
#include <string>

#include "access/token_book.h"
#include "base/clock.h"
#include "scheduler/farm_loop.h"

namespace tiltshift::scheduler {

class FirstToken {
 public:
  // `path` empty: none is made. The others must outlive it.
  FirstToken(std::string path, FarmLoop& loop, const access::TokenBook& tokens, const Clock& clock)
      : path_(std::move(path)), loop_(loop), tokens_(tokens), clock_(clock) {}

  // To be called every now and then.
  void Look();

 private:
  absl::Status Make();

  const std::string path_;
  FarmLoop& loop_;
  const access::TokenBook& tokens_;
  const Clock& clock_;
  std::atomic<bool> looked_{false};  // since this scheduler leads
};

}  // namespace tiltshift::scheduler
