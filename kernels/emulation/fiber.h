// Stacks, and the jump from one to another: what lets one thread of the host stand for a thousand
// of the card. A jump saves what a call preserves and nothing else (no signal mask, as swapcontext
// would), so it costs a few tens of nanoseconds.
#pragma once

#include <cstddef>
#include <vector>

namespace tiltshift::emulation {

// A suspended stack: its stack pointer.
using StackPointer = void*;

// Saves this stack's place in *from and goes on at `to`. Returns when something jumps to *from.
extern "C" void TiltshiftSwitchStack(StackPointer* from, StackPointer to);

// Stacks of one host thread; each is taken, used and given back many times.
class StackPool {
 public:
  ~StackPool();

  // A stack on which `entry` will run when first jumped to; `entry` must never return.
  StackPointer Take(void (*entry)());
  // The stack that Take gave last, or any other: the memory, not the stack pointer, is what counts.
  void* newest() const { return newest_; }
  // May be the stack that the caller stands on, if it then jumps away for good.
  void GiveBack(void* stack) { free_.push_back(stack); }
  // Every stack is free again: what stood on them is forgotten.
  void GiveBackAll() { free_ = all_; }

 private:
  void* Allocate();

  std::vector<void*> all_;
  std::vector<void*> free_;
  void* newest_ = nullptr;
};

}  // namespace tiltshift::emulation
