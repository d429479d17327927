// The functions of device.h in the emulator. See device.h for what they do.
#pragma once

#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels/emulation/block.h"
#include "kernels/emulation/track.h"
#include "kernels/emulation/warp_matrix.h"
#include "kernels/numbers.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

namespace tiltshift::kernels {

using emulation::Place;

// Cannot be dereferenced: Load and Store are the only ways.
template <class T>
struct GlobalPtr {
  T* address;

  GlobalPtr() = default;
  explicit GlobalPtr(T* at) : address(at) {}
  GlobalPtr operator+(int64_t n) const { return GlobalPtr(address + n); }
  GlobalPtr operator-(int64_t n) const { return GlobalPtr(address - n); }
  bool null() const { return address == nullptr; }
};
template <class T>
struct SharedPtr {
  T* address;

  SharedPtr() = default;
  explicit SharedPtr(T* at) : address(at) {}
  SharedPtr operator+(int n) const { return SharedPtr(address + n); }
  SharedPtr operator-(int n) const { return SharedPtr(address - n); }
  bool operator==(const SharedPtr&) const = default;
};

template <class T>
SharedPtr<T> Shared(int byte_offset) {
  return SharedPtr<T>(reinterpret_cast<T*>(emulation::current->block->shared() + byte_offset));
}

inline emulation::Dim3 ThreadIndex() { return emulation::current->index; }
inline emulation::Dim3 BlockIndex() { return emulation::current->block->index(); }
inline emulation::Dim3 BlockSize() { return emulation::current->block->grid().shape.block; }
inline emulation::Dim3 GridSize() { return emulation::current->block->grid().shape.grid; }
inline int Lane() { return emulation::current->lane; }
inline int Warp() { return emulation::current->linear / 32; }

template <class V, class T>
V Load(GlobalPtr<T> from, Place place = Place::current()) {
  V value = {};
  if (emulation::tracking && !emulation::TrackGlobal(false, from.address, sizeof(V), place))
    return value;
  std::memcpy(&value, from.address, sizeof value);
  return value;
}
template <class V, class T>
V Load(SharedPtr<T> from, Place place = Place::current()) {
  V value = {};
  if (emulation::tracking && !emulation::TrackShared(false, from.address, sizeof(V), place))
    return value;
  std::memcpy(&value, from.address, sizeof value);
  return value;
}
template <class T>
std::remove_const_t<T> Load(GlobalPtr<T> from, Place place = Place::current()) {
  return Load<std::remove_const_t<T>, T>(from, place);
}
template <class T>
std::remove_const_t<T> Load(SharedPtr<T> from, Place place = Place::current()) {
  return Load<std::remove_const_t<T>, T>(from, place);
}
template <class T, class V>
void Store(GlobalPtr<T> to, const V& value, Place place = Place::current()) {
  if (emulation::tracking && !emulation::TrackGlobal(true, to.address, sizeof(V), place)) return;
  std::memcpy(static_cast<void*>(to.address), &value, sizeof value);
}
template <class T, class V>
void Store(SharedPtr<T> to, const V& value, Place place = Place::current()) {
  if (emulation::tracking && !emulation::TrackShared(true, to.address, sizeof(V), place)) return;
  std::memcpy(static_cast<void*>(to.address), &value, sizeof value);
}

template <class T, class U>
void CopyAsync16(SharedPtr<T> to, GlobalPtr<U> from, bool valid, Place place = Place::current()) {
  char* const target = reinterpret_cast<char*>(to.address);
  if (emulation::tracking) {
    emulation::TrackedCopy(target, reinterpret_cast<const char*>(from.address), valid ? 16 : 0, 16,
                           place);
  } else if (valid) {
    std::memcpy(target, from.address, 16);
  } else {
    std::memset(target, 0, 16);
  }
}
inline void CommitCopies() {
  if (emulation::tracking) emulation::CommitTrackedCopies();
}
template <int kPending>
void WaitCopies() {
  if (emulation::tracking) emulation::WaitTrackedCopies(kPending);
}

// Blocks run on several threads of the host: atomics are the host's own. They order as a Fence
// beside them would, which says the same to the sanitizers.
template <class T, class Change>
T ChangeAtomically(T* at, const Change& change) {
  static_assert(sizeof(T) == 4);
  std::atomic_ref<T> cell(*at);
  T before = cell.load(std::memory_order_acquire);
  while (!cell.compare_exchange_weak(before, change(before), std::memory_order_acq_rel)) {
  }
  return before;
}
template <class T, class Change>
T Atomic(GlobalPtr<T> at, const Change& change, const Place& place) {
  if (emulation::tracking && !emulation::TrackGlobalAtomic(at.address, sizeof(T), place)) return {};
  return ChangeAtomically(at.address, change);
}
template <class T, class Change>
T Atomic(SharedPtr<T> at, const Change& change, const Place& place) {
  if (emulation::tracking && !emulation::TrackSharedAtomic(at.address, sizeof(T), place)) return {};
  return ChangeAtomically(at.address, change);
}
template <template <class> class Pointer, class T>
T AtomicAdd(Pointer<T> at, std::type_identity_t<T> value, Place place = Place::current()) {
  return Atomic(
      at, [value](T before) { return before + value; }, place);
}
template <template <class> class Pointer, class T>
T AtomicMax(Pointer<T> at, std::type_identity_t<T> value, Place place = Place::current()) {
  return Atomic(
      at, [value](T before) { return before < value ? value : before; }, place);
}
template <template <class> class Pointer, class T>
T AtomicCompareAndSwap(Pointer<T> at, std::type_identity_t<T> expected,
                       std::type_identity_t<T> value, Place place = Place::current()) {
  return Atomic(
      at, [expected, value](T before) { return before == expected ? value : before; }, place);
}
inline void Fence() { std::atomic_thread_fence(std::memory_order_seq_cst); }

inline void SyncThreads(Place place = Place::current()) {
  emulation::current->block->Barrier(place);
}
inline void SyncWarp(Place place = Place::current()) {
  emulation::current->block->WarpBarrier(place);
}

// What a lane brings to a shuffle or a vote, and what it takes away.
struct LaneExchange {
  uint32_t bits;
  int source;
  uint32_t result;
};

inline void ExchangeLanes(emulation::Thread& last, void* const* lanes) {
  if (emulation::tracking) ++last.block->counters().shuffles;
  uint32_t bits[32] = {};
  for (int i = 0; i < 32; ++i) {
    if (lanes[i] != nullptr) bits[i] = static_cast<LaneExchange*>(lanes[i])->bits;
  }
  for (int i = 0; i < 32; ++i) {
    if (lanes[i] == nullptr) continue;
    auto* lane = static_cast<LaneExchange*>(lanes[i]);
    lane->result = bits[lane->source & 31];
  }
}
template <class T>
T Shuffle(T value, int lane, Place place = Place::current()) {
  static_assert(sizeof(T) == 4);
  LaneExchange mine = {std::bit_cast<uint32_t>(value), lane, 0};
  emulation::current->block->WarpWait(&ExchangeLanes, &mine, place);
  return std::bit_cast<T>(mine.result);
}
template <class T>
T ShuffleXor(T value, int mask, Place place = Place::current()) {
  return Shuffle(value, Lane() ^ mask, place);
}
template <class T>
T ShuffleDown(T value, int delta, Place place = Place::current()) {
  return Shuffle(value, Lane() + delta < 32 ? Lane() + delta : Lane(), place);
}

inline void CollectVotes(emulation::Thread& last, void* const* lanes) {
  if (emulation::tracking) ++last.block->counters().shuffles;
  uint32_t votes = 0;
  for (int i = 0; i < 32; ++i) {
    if (lanes[i] != nullptr) votes |= (static_cast<LaneExchange*>(lanes[i])->bits & 1) << i;
  }
  for (int i = 0; i < 32; ++i) {
    if (lanes[i] != nullptr) static_cast<LaneExchange*>(lanes[i])->result = votes;
  }
}
inline uint32_t Ballot(bool value, Place place = Place::current()) {
  LaneExchange mine = {value ? 1u : 0u, 0, 0};
  emulation::current->block->WarpWait(&CollectVotes, &mine, place);
  return mine.result;
}
inline bool Any(bool value, Place place = Place::current()) { return Ballot(value, place) != 0; }
inline bool All(bool value, Place place = Place::current()) { return Ballot(!value, place) == 0; }

void LoadMatricesOfWarp(emulation::Thread& last, void* const* lanes);
void MultiplyOfWarp(emulation::Thread& last, void* const* lanes);

template <bool kTransposed, int kCount, class T>
void LoadMatrices(const SharedPtr<T> (&rows)[kCount], uint32_t (&registers)[kCount][4],
                  Place place = Place::current()) {
  const void* addresses[kCount];
  for (int i = 0; i < kCount; ++i) {
    addresses[i] = rows[i].address;
    if (emulation::tracking && !emulation::TrackMatrixRow(addresses[i], place)) {
      addresses[i] = emulation::current->block->shared();
    }
  }
  emulation::LoadMatrixArguments mine = {kCount, addresses, &registers[0][0], kTransposed};
  emulation::current->block->WarpWait(&LoadMatricesOfWarp, &mine, place);
}

template <class T, int kM, int kN, int kPairs>
void MultiplyAccumulate(float (&c)[kM][kN][4], const uint32_t (&a)[kM][4],
                        const uint32_t (&b)[kPairs][4], Place place = Place::current()) {
  static_assert(kPairs == (kN + 1) / 2);
  static_assert(std::is_same_v<T, Bf16> || std::is_same_v<T, Fp16>);
  static_assert(kN <= emulation::kMostMmaColumns);
  emulation::MmaArguments mine = {
      kM,
      kN,
      &c[0][0][0],
      &a[0][0],
      &b[0][0],
      std::is_same_v<T, Bf16> ? emulation::MatrixNumber::kBf16 : emulation::MatrixNumber::kFp16};
  emulation::current->block->WarpWait(&MultiplyOfWarp, &mine, place);
}

// The lanes hold the same numbers of c, in pairs: the sums are rounded to fp16 where the
// instruction ends.
template <class T, int kM, int kN, int kPairs>
void MultiplyAccumulate(uint32_t (&c)[kM][kN][2], const uint32_t (&a)[kM][4],
                        const uint32_t (&b)[kPairs][4], Place place = Place::current()) {
  static_assert(std::is_same_v<T, Fp16>);
  float sums[kM][kN][4];
  for (int i = 0; i < kM * kN * 2; ++i) {
    sums[i / 2 / kN][i / 2 % kN][i % 2 * 2] = LowOf<T>(c[i / 2 / kN][i / 2 % kN][i % 2]);
    sums[i / 2 / kN][i / 2 % kN][i % 2 * 2 + 1] = HighOf<T>(c[i / 2 / kN][i / 2 % kN][i % 2]);
  }
  MultiplyAccumulate<T>(sums, a, b, place);
  for (int i = 0; i < kM * kN * 2; ++i) {
    const float* pair = &sums[i / 2 / kN][i / 2 % kN][i % 2 * 2];
    c[i / 2 / kN][i / 2 % kN][i % 2] = PackPair<T>(pair[0], pair[1]);
  }
}

inline float Exp2(float x) { return std::exp2(x); }
inline float Reciprocal(float x) { return 1.0f / x; }
inline float ReciprocalRoot(float x) { return 1.0f / std::sqrt(x); }
inline double MultiplyRounded(double a, double b) { return a * b; }
inline float Erf(float x) { return std::erf(x); }
inline float Tanh(float x) { return std::tanh(x); }

}  // namespace tiltshift::kernels
