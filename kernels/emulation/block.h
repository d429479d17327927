// How a block of threads runs on one thread of the host: each of its threads is a fiber (fiber.h)
// that runs until it must wait for others, at a warp operation or a barrier; then the next goes on.
// The order is always the same: lanes upwards within a warp, warps upwards within the block.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <source_location>
#include <string>
#include <vector>

#include "kernels/emulation/access_log.h"
#include "kernels/emulation/counters.h"
#include "kernels/emulation/fiber.h"
#include "kernels/emulation/shared_shadow.h"

namespace tiltshift::emulation {

using Place = std::source_location;

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;

  int64_t size() const { return int64_t{x} * y * z; }
};

class Block;
struct Warp;

// An asynchronous copy that has not landed.
struct PendingCopy {
  char* to;
  const char* from;  // null: zeros
  int bytes;
  int from_bytes;  // what of `bytes` comes from `from`; the rest is zeros
  int group;
};

struct Thread {
  Dim3 index;
  int linear = 0;
  int lane = 0;
  Warp* warp = nullptr;
  Block* block = nullptr;
  Stack* stack = nullptr;  // that it stands on, once it has begun
  std::vector<PendingCopy> copies;
  int copy_group = 0;  // the group that the next copy joins
};

// What a warp operation does once all lanes have come: arguments[lane] is what each lane brought,
// null for lanes that have ended.
using WarpOperation = void (*)(Thread& last, void* const* arguments);

struct Warp {
  std::array<Thread*, 32> threads = {};
  uint32_t live = 0;      // lanes that have not ended
  uint32_t started = 0;   // lanes that have begun
  uint32_t runnable = 0;  // lanes that may go on
  uint32_t arrived = 0;   // lanes waiting at `operation`
  WarpOperation operation = nullptr;
  Place place;
  std::array<void*, 32> arguments = {};
  uint32_t phase = 0;
  AccessLog log;
};

struct LaunchShape {
  Dim3 grid;
  Dim3 block;
  size_t shared_bytes = 0;
};

// What is the same for all blocks of a launch.
struct Grid {
  LaunchShape shape;
  std::string kernel;
  void (*body)(const void* argument) = nullptr;
  const void* argument = nullptr;
  bool tracked = false;
};

// The thread of the card that this thread of the host now is.
extern thread_local constinit Thread* current;
// Whether accesses are tracked: one flag for the process, set between launches.
extern bool tracking;

class Block {
 public:
  // Runs one block from its first thread to its last.
  void Run(const Grid& grid, Dim3 index);

  // Waits until all lanes of the warp are here, runs `operation` once, and goes on.
  void WarpWait(WarpOperation operation, void* argument, const Place& place);
  // __syncthreads and __syncwarp.
  void Barrier(const Place& place);
  void WarpBarrier(const Place& place);

  const Grid& grid() const { return *grid_; }
  Dim3 index() const { return index_; }
  char* shared() { return shared_; }
  SharedShadow& shadow() { return shadow_; }
  uint32_t phase() const { return phase_; }
  Counters& counters() { return counters_; }
  std::string Who(const Thread& thread) const;

 private:
  static void FiberMain();
  void Prepare(const Grid& grid, Dim3 index);
  void EndThread(Thread& thread);
  // Who goes on after `thread`, which waits or has ended; null: nobody can.
  Thread* Next(const Thread& thread);
  void Suspend(Thread& thread);
  void ReleaseBarrier(const Place& place);
  [[noreturn]] void GiveUp(Thread& thread);

  const Grid* grid_ = nullptr;
  Dim3 index_;
  StackPool stacks_;
  const std::unique_ptr<Stack> host_ = Stack::OfThisThread();  // a block is of one host thread
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  int live_ = 0;
  int waiting_ = 0;
  Place barrier_place_;
  uint32_t phase_ = 0;
  SharedShadow shadow_;
  Counters counters_;
  std::vector<char> shared_memory_;
  char* shared_ = nullptr;
};

}  // namespace tiltshift::emulation
