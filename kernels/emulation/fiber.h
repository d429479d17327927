// Stacks, and the jump from one to another: what lets one thread of the host stand for a thousand
// of the card. A jump saves what a call preserves and nothing else (no signal mask, as swapcontext
// would), so it costs a few tens of nanoseconds. The sanitizers are told of each.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace tiltshift::emulation {

// A stack that something can be suspended on.
class Stack {
 public:
  // The one that this thread of the host stands on now.
  static std::unique_ptr<Stack> OfThisThread();
  // A new one.
  Stack();
  ~Stack();
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;

  // Makes `entry` run when it is next jumped to, whatever stood on it before. `entry` begins with
  // Arrive and never returns.
  void Prepare(void (*entry)());
  static void Arrive();

  // Saves this stack's place, which the caller stands on, and goes on at `to`. Returns when
  // something jumps back.
  void JumpTo(Stack& to);
  // Goes on at `to`; what stands here is never gone on with.
  [[noreturn]] void LeaveFor(Stack& to);

 private:
  struct OfHost {};
  explicit Stack(OfHost);

  void* pointer_ = nullptr;  // while it is suspended
  char* memory_ = nullptr;   // with the guard page; null: the host's
  char* bottom_ = nullptr;
  size_t bytes_ = 0;
  void* sanitizer_frames_ = nullptr;  // AddressSanitizer's, while it is suspended
  void* sanitizer_fiber_ = nullptr;   // ThreadSanitizer's
};

// Stacks of one host thread; each is taken, used and given back many times.
class StackPool {
 public:
  // One on which `entry` will run when first jumped to.
  Stack* Take(void (*entry)());
  // May be the stack that the caller stands on, if it then jumps away for good.
  void GiveBack(Stack* stack) { free_.push_back(stack); }
  // Every stack is free again: what stood on them is forgotten.
  void GiveBackAll();

 private:
  std::vector<std::unique_ptr<Stack>> all_;
  std::vector<Stack*> free_;
};

}  // namespace tiltshift::emulation
