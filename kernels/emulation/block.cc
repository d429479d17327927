#include "kernels/emulation/block.h"

#include <bit>
#include <cstring>

#include "base/check.h"
#include "kernels/emulation/card.h"

namespace tiltshift::emulation {

thread_local constinit Thread* current = nullptr;
bool tracking = false;

namespace {

constexpr size_t kSharedAlign = 1024;

uint32_t bit_of(int lane) { return 1u << lane; }

std::string Text(Dim3 at) {
  return "(" + std::to_string(at.x) + "," + std::to_string(at.y) + "," + std::to_string(at.z) + ")";
}

}  // namespace

std::string Block::Who(const Thread& thread) const {
  return "block " + Text(index_) + " thread " + Text(thread.index);
}

void Block::Prepare(const Grid& grid, Dim3 index) {
  grid_ = &grid;
  index_ = index;
  const Dim3 shape = grid.shape.block;
  const int count = static_cast<int>(shape.size());
  TS_CHECK(count > 0 && count <= 1024);
  threads_.resize(count);
  warps_.resize((count + 31) / 32);
  for (Warp& warp : warps_) {
    warp.threads.fill(nullptr);
    warp.arguments.fill(nullptr);
    warp.live = warp.started = warp.arrived = 0;
    warp.phase = 0;
  }
  for (int i = 0; i < count; ++i) {
    Thread& thread = threads_[i];
    thread.index = {i % shape.x, i / shape.x % shape.y, i / shape.x / shape.y};
    thread.linear = i;
    thread.lane = i % 32;
    thread.warp = &warps_[i / 32];
    thread.block = this;
    thread.copies.clear();
    thread.copy_group = 0;
    thread.warp->threads[thread.lane] = &thread;
    thread.warp->live |= bit_of(thread.lane);
  }
  for (Warp& warp : warps_) warp.runnable = warp.live;
  live_ = count;
  waiting_ = 0;
  phase_ = 0;
  if (shared_memory_.size() < grid.shape.shared_bytes + kSharedAlign) {
    shared_memory_.resize(grid.shape.shared_bytes + kSharedAlign);
  }
  const auto address = reinterpret_cast<uintptr_t>(shared_memory_.data());
  shared_ = reinterpret_cast<char*>((address + kSharedAlign - 1) / kSharedAlign * kSharedAlign);
  if (grid.tracked) {
    shadow_.Reset(grid.shape.shared_bytes);
    std::memset(shared_, 0xff, grid.shape.shared_bytes);  // NaN, should an unwritten byte be used
  }
}

void Block::Run(const Grid& grid, Dim3 index) {
  Prepare(grid, index);
  current = &threads_[0];
  current->stack = stacks_.Take(&FiberMain);
  host_->JumpTo(*current->stack);
  current = nullptr;
  if (grid.tracked) {
    for (Warp& warp : warps_) warp.log.Flush(counters_);
  }
}

// Begins `current`; when that ends, goes on with whoever is next, on this stack as long as those
// are threads that have not begun.
void Block::FiberMain() {
  Stack::Arrive();
  Block* block = current->block;
  Stack* const stack = current->stack;
  while (true) {
    Thread& thread = *current;
    thread.stack = stack;
    thread.warp->started |= bit_of(thread.lane);
    block->grid_->body(block->grid_->argument);
    block->EndThread(thread);
    Thread* next = block->Next(thread);
    if (next != nullptr && (next->warp->started & bit_of(next->lane)) == 0) {
      current = next;
      continue;
    }
    if (next == nullptr && block->live_ > 0) block->GiveUp(thread);
    block->stacks_.GiveBack(stack);
    current = next;
    stack->LeaveFor(next == nullptr ? *block->host_ : *next->stack);
  }
}

void Block::EndThread(Thread& thread) {
  Warp& warp = *thread.warp;
  warp.live &= ~bit_of(thread.lane);
  warp.runnable &= ~bit_of(thread.lane);
  --live_;
  for (const PendingCopy& copy : thread.copies) {
    shadow_.LandCopy(copy.to - shared_, copy.bytes, {thread.linear, phase_, warp.phase});
  }
  thread.copies.clear();
}

Thread* Block::Next(const Thread& thread) {
  const auto pick = [](Warp& warp, int after) -> Thread* {
    if (warp.runnable == 0) return nullptr;
    const uint32_t above = after >= 31 ? 0 : warp.runnable & (~0u << (after + 1));
    return warp.threads[std::countr_zero(above != 0 ? above : warp.runnable)];
  };
  const size_t first = thread.warp - warps_.data();
  if (Thread* next = pick(*thread.warp, thread.lane)) return next;
  for (size_t i = 1; i < warps_.size(); ++i) {
    if (Thread* next = pick(warps_[(first + i) % warps_.size()], 31)) return next;
  }
  return nullptr;
}

void Block::Suspend(Thread& thread) {
  Thread* next = Next(thread);
  if (next == nullptr) GiveUp(thread);
  current = next;
  const bool fresh = (next->warp->started & bit_of(next->lane)) == 0;
  if (fresh) next->stack = stacks_.Take(&FiberMain);
  thread.stack->JumpTo(*next->stack);
}

// Nobody can go on: says why; the block is left as it stands.
void Block::GiveUp(Thread& thread) {
  Card& card = TheCard();
  const Thread* stuck = nullptr;
  for (Thread& other : threads_) {
    const Warp& warp = *other.warp;
    if ((warp.live & bit_of(other.lane)) == 0) continue;
    if (stuck == nullptr) stuck = &other;
    if ((warp.arrived & bit_of(other.lane)) != 0) {
      card.findings().Add(FindingKind::kDivergentWarp, grid_->kernel, warp.place,
                          Who(other) + ": a warp operation to which not all lanes come");
    }
  }
  if (waiting_ > 0) {
    card.findings().Add(FindingKind::kDivergentBarrier, grid_->kernel, barrier_place_,
                        "block " + Text(index_) + ": " + std::to_string(waiting_) + " of " +
                            std::to_string(threads_.size()) +
                            " threads wait, the others never come");
  }
  for (Warp& warp : warps_) warp.log.Flush(counters_);
  live_ = 0;
  stacks_.GiveBackAll();
  current = nullptr;
  thread.stack->LeaveFor(*host_);
}

void Block::WarpWait(WarpOperation operation, void* argument, const Place& place) {
  Thread& thread = *current;
  Warp& warp = *thread.warp;
  if (warp.arrived == 0) {
    warp.operation = operation;
    warp.place = place;
  } else if (warp.operation != operation || warp.place.line() != place.line() ||
             warp.place.column() != place.column()) {
    TheCard().findings().Add(
        FindingKind::kDivergentWarp, grid_->kernel, place,
        Who(thread) + ": other lanes of the warp are at line " + std::to_string(warp.place.line()));
    GiveUp(thread);
  }
  warp.arguments[thread.lane] = argument;
  warp.arrived |= bit_of(thread.lane);
  warp.runnable &= ~bit_of(thread.lane);
  if (warp.arrived != warp.live) {
    Suspend(thread);
    return;
  }
  if (grid_->tracked) warp.log.Flush(counters_);
  if (warp.live == ~0u) {
    operation(thread, warp.arguments.data());
  } else {
    TheCard().findings().Add(FindingKind::kDivergentWarp, grid_->kernel, place,
                             Who(thread) + ": a warp operation without all 32 lanes");
  }
  warp.arrived = 0;
  warp.runnable = warp.live;
}

void Block::WarpBarrier(const Place& place) {
  static char nothing;
  WarpWait([](Thread& last, void* const*) { ++last.warp->phase; }, &nothing, place);
}

void Block::Barrier(const Place& place) {
  Thread& thread = *current;
  if (waiting_ == 0) {
    barrier_place_ = place;
  } else if (barrier_place_.line() != place.line() || barrier_place_.column() != place.column()) {
    TheCard().findings().Add(FindingKind::kDivergentBarrier, grid_->kernel, place,
                             Who(thread) + ": others of the block wait at line " +
                                 std::to_string(barrier_place_.line()));
  }
  thread.warp->runnable &= ~bit_of(thread.lane);
  if (++waiting_ != live_) {
    Suspend(thread);
    return;
  }
  ReleaseBarrier(place);
}

void Block::ReleaseBarrier(const Place& place) {
  if (live_ != static_cast<int>(threads_.size())) {
    TheCard().findings().Add(FindingKind::kDivergentBarrier, grid_->kernel, place,
                             "block " + Text(index_) + ": " +
                                 std::to_string(threads_.size() - live_) +
                                 " threads ended without it");
  }
  waiting_ = 0;
  ++phase_;
  if (grid_->tracked) {
    ++counters_.barriers;
    for (Warp& warp : warps_) warp.log.Flush(counters_);
  }
  for (Warp& warp : warps_) warp.runnable = warp.live;
}

}  // namespace tiltshift::emulation
