// Each kind of mistake, planted once: the emulator must name it, and nothing else.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/launch.h"

namespace tiltshift::kernels {
namespace {

using emulation::Counters;
using emulation::Finding;
using emulation::FindingKind;
using emulation::TheCard;
using ::testing::ElementsAre;

struct Plan {
  float* x = nullptr;
  int64_t count = 0;
};

// Runs one block of 64 threads with 1 KB of shared memory; x holds 256 floats, of which the first
// 128 were written.
template <auto kKernel>
std::vector<FindingKind> FindingsOf(unsigned threads = 64) {
  emulation::Tracked tracked;
  TheCard().TakeCounters();
  Plan plan = {.count = 256};
  EXPECT_EQ(cudaMalloc(&plan.x, 256 * 4), cudaSuccess);
  EXPECT_EQ(cudaMemset(plan.x, 0, 128 * 4), cudaSuccess);
  const cudaError_t error =
      Launch<kKernel>(nullptr, {.grid = {1}, .block = {threads}, .shared_bytes = 1024}, plan);
  const std::vector<Finding> findings = TheCard().findings().Take();
  EXPECT_EQ(error, findings.empty() ? cudaSuccess : cudaErrorLaunchFailure);
  std::vector<FindingKind> kinds;
  for (const Finding& finding : findings) kinds.push_back(finding.kind);
  emulation::ResetError();
  EXPECT_EQ(cudaFree(plan.x), cudaSuccess);
  return kinds;
}

int Me() { return static_cast<int>(ThreadIndex().x); }

void CleanKernel(Plan p) {
  const SharedPtr<float> shared = Shared<float>(0);
  Store(shared + Me(), Load(GlobalPtr(p.x) + Me()));
  SyncThreads();
  Store(GlobalPtr(p.x) + 128 + Me(), Load(shared + 63 - Me()));
}
TEST(Detection, FindsNothingInACleanKernel) {
  EXPECT_THAT(FindingsOf<&CleanKernel>(), ElementsAre());
}

void MissingBarrierKernel(Plan) {
  const SharedPtr<float> shared = Shared<float>(0);
  Store(shared + Me(), 1.0f);
  Store(shared + 64 + Me(), Load(shared + (Me() + 63) % 64));  // its left neighbour's
}
TEST(Detection, MissingBarrierBeforeReading) {
  // The first thread's neighbour has not even run: that is a read of nothing too.
  EXPECT_THAT(FindingsOf<&MissingBarrierKernel>(),
              ::testing::UnorderedElementsAre(FindingKind::kRace, FindingKind::kUninitialised));
}

void OverwriteKernel(Plan p) {
  const SharedPtr<float> shared = Shared<float>(0);
  Store(shared + Me(), 1.0f);
  SyncThreads();
  const float neighbour = Load(shared + 63 - Me());
  Store(shared + Me(), neighbour);  // another may still read this
}
TEST(Detection, MissingBarrierBeforeOverwriting) {
  // Where it is overwritten, and where another then reads it.
  EXPECT_THAT(FindingsOf<&OverwriteKernel>(), ElementsAre(FindingKind::kRace, FindingKind::kRace));
}

void SameWordKernel(Plan) { Store(Shared<int>(0), Me()); }
TEST(Detection, ManyWriteOneWord) {
  EXPECT_THAT(FindingsOf<&SameWordKernel>(), ElementsAre(FindingKind::kRace));
}

void WarpOnlyKernel(Plan) {
  const SharedPtr<float> shared = Shared<float>(0);
  Store(shared + Me(), 1.0f);
  SyncWarp();
  Load(shared + (Me() ^ 1));
  SyncWarp();
  Store(shared + (Me() ^ 1), 2.0f);
}
TEST(Detection, WarpBarrierSufficesWithinAWarp) {
  EXPECT_THAT(FindingsOf<&WarpOnlyKernel>(), ElementsAre());
}

void WarpBarrierAcrossKernel(Plan) {
  const SharedPtr<float> shared = Shared<float>(0);
  Store(shared + Me(), 1.0f);
  SyncWarp();
  if (Me() >= 32) Load(shared + Me() - 32);
}
TEST(Detection, WarpBarrierIsNotEnoughAcrossWarps) {
  EXPECT_THAT(FindingsOf<&WarpBarrierAcrossKernel>(), ElementsAre(FindingKind::kRace));
}

void SharedBeyondKernel(Plan) { Store(Shared<float>(1024 - 4) + Me(), 1.0f); }
TEST(Detection, SharedOutOfBounds) {
  EXPECT_THAT(FindingsOf<&SharedBeyondKernel>(), ElementsAre(FindingKind::kOutOfBounds));
}

void GlobalBeyondKernel(Plan p) { Load(GlobalPtr(p.x) + p.count - 63 + Me() - 64 * (Me() < 63)); }
TEST(Detection, GlobalOutOfBounds) {
  EXPECT_THAT(
      FindingsOf<&GlobalBeyondKernel>(),
      ::testing::UnorderedElementsAre(FindingKind::kOutOfBounds, FindingKind::kUninitialised));
}

void GlobalMisalignedKernel(Plan p) { Load<Words4>(GlobalPtr(p.x) + 1); }
TEST(Detection, GlobalMisaligned) {
  EXPECT_THAT(FindingsOf<&GlobalMisalignedKernel>(), ElementsAre(FindingKind::kMisaligned));
}

void SharedMisalignedKernel(Plan) { Store(Shared<float>(2) + Me(), 1.0f); }
TEST(Detection, SharedMisaligned) {
  EXPECT_THAT(FindingsOf<&SharedMisalignedKernel>(), ElementsAre(FindingKind::kMisaligned));
}

void SharedUnwrittenKernel(Plan) { Load(Shared<float>(0) + Me()); }
TEST(Detection, SharedUninitialised) {
  EXPECT_THAT(FindingsOf<&SharedUnwrittenKernel>(), ElementsAre(FindingKind::kUninitialised));
}

void GlobalUnwrittenKernel(Plan p) { Load(GlobalPtr(p.x) + 128 + Me()); }
TEST(Detection, GlobalUninitialised) {
  EXPECT_THAT(FindingsOf<&GlobalUnwrittenKernel>(), ElementsAre(FindingKind::kUninitialised));
}

void DivergentBarrierKernel(Plan) {
  if (Me() < 40) SyncThreads();
}
TEST(Detection, BarrierThatSomeNeverReach) {
  EXPECT_THAT(FindingsOf<&DivergentBarrierKernel>(), ElementsAre(FindingKind::kDivergentBarrier));
}

void TwoBarriersKernel(Plan) {
  if (Me() < 32) {
    SyncThreads();
  } else {
    SyncThreads();
  }
}
TEST(Detection, TwoBarriersForOneBlock) {
  EXPECT_THAT(FindingsOf<&TwoBarriersKernel>(), ElementsAre(FindingKind::kDivergentBarrier));
}

void DivergentShuffleKernel(Plan) {
  if (Lane() < 16) Shuffle(Me(), 0);
}
TEST(Detection, ShuffleOfHalfAWarp) {
  EXPECT_THAT(FindingsOf<&DivergentShuffleKernel>(), ElementsAre(FindingKind::kDivergentWarp));
}

void CopyNotWaitedForKernel(Plan p) {
  CopyAsync16(Shared<float>(0) + 4 * Me(), GlobalPtr(p.x) + Me() / 2 * 4, true);
  CommitCopies();
  SyncThreads();
  Load(Shared<float>(0) + 4 * Me());
}
TEST(Detection, CopyNotWaitedFor) {
  EXPECT_THAT(FindingsOf<&CopyNotWaitedForKernel>(), ElementsAre(FindingKind::kPendingCopy));
}

void CopyGroupTooLateKernel(Plan p) {
  CopyAsync16(Shared<float>(0) + 4 * Me(), GlobalPtr(p.x), true);
  CommitCopies();
  WaitCopies<1>();  // lands all but the latest group: nothing
  Load(Shared<float>(0) + 4 * Me());
}
TEST(Detection, CopyGroupNotWaitedFor) {
  EXPECT_THAT(FindingsOf<&CopyGroupTooLateKernel>(), ElementsAre(FindingKind::kPendingCopy));
}

void CopyWithoutBarrierKernel(Plan p) {
  CopyAsync16(Shared<float>(0) + 4 * Me(), GlobalPtr(p.x) + Me() / 2 * 4, true);
  CommitCopies();
  WaitCopies<0>();
  Load(Shared<float>(0) + 4 * Me());               // its own: fine
  if (Me() == 63) Load(Shared<float>(0) + 4 * 3);  // another's: a wait is not a barrier
}
TEST(Detection, CopyWaitedForButNoBarrier) {
  EXPECT_THAT(FindingsOf<&CopyWithoutBarrierKernel>(), ElementsAre(FindingKind::kRace));
}

void CopyOverReadersKernel(Plan p) {
  Store(Shared<float>(0) + Me(), 1.0f);
  SyncThreads();
  Load(Shared<float>(0) + 63 - Me());
  if (Me() < 16) CopyAsync16(Shared<float>(0) + 4 * Me(), GlobalPtr(p.x), true);
}
TEST(Detection, CopyIntoWhatOthersRead) {
  // At the copy for those that had read, at the reading for those that then come.
  EXPECT_THAT(FindingsOf<&CopyOverReadersKernel>(),
              ElementsAre(FindingKind::kRace, FindingKind::kRace));
}

void CopyOfNothingKernel(Plan p) {
  CopyAsync16(Shared<float>(0) + 4 * Me(), GlobalPtr(p.x) + (int64_t{1} << 40), false);
  CommitCopies();
  WaitCopies<0>();
  Store(GlobalPtr(p.x) + Me(), 1.0f + Load(Shared<float>(0) + 4 * Me()));
}
TEST(Detection, InvalidCopyReadsNothingAndFillsWithZeros) {
  EXPECT_THAT(FindingsOf<&CopyOfNothingKernel>(), ElementsAre());
}

void CopyBeyondKernel(Plan p) {
  CopyAsync16(Shared<float>(0) + 4 * Me(), GlobalPtr(p.x) + 4 * Me() + p.count - 252, true);
}
TEST(Detection, CopyFromOutOfBounds) {
  EXPECT_THAT(
      FindingsOf<&CopyBeyondKernel>(),
      ::testing::UnorderedElementsAre(FindingKind::kOutOfBounds, FindingKind::kUninitialised));
}

void CopyToBeyondKernel(Plan p) { CopyAsync16(Shared<float>(16) + 4 * Me(), GlobalPtr(p.x), true); }
TEST(Detection, CopyToOutOfBounds) {
  EXPECT_THAT(FindingsOf<&CopyToBeyondKernel>(), ElementsAre(FindingKind::kOutOfBounds));
}

void CopyMisalignedKernel(Plan p) {
  CopyAsync16(Shared<float>(0) + 2 + Me() % 8 * 4, GlobalPtr(p.x), true);
}
TEST(Detection, CopyMisaligned) {
  EXPECT_THAT(FindingsOf<&CopyMisalignedKernel>(), ElementsAre(FindingKind::kMisaligned));
}

void MatrixUnwrittenKernel(Plan) {
  const SharedPtr<Bf16> rows[1] = {Shared<Bf16>(0) + Lane() * 8};
  uint32_t registers[1][4];
  LoadMatrices<false>(rows, registers);
}
TEST(Detection, MatrixOfUnwrittenRows) {
  EXPECT_THAT(FindingsOf<&MatrixUnwrittenKernel>(), ElementsAre(FindingKind::kUninitialised));
}

void MatrixBeyondKernel(Plan) {
  Store(Shared<Bf16>(0) + Me() * 8, Words4{});
  SyncThreads();
  const SharedPtr<Bf16> rows[1] = {Shared<Bf16>(1024) + (Me() % 2 * 8 - 8)};
  uint32_t registers[1][4];
  LoadMatrices<false>(rows, registers);
}
TEST(Detection, MatrixOfRowsOutOfBounds) {
  EXPECT_THAT(FindingsOf<&MatrixBeyondKernel>(), ElementsAre(FindingKind::kOutOfBounds));
}

void MatrixMisalignedKernel(Plan) {
  Store(Shared<Bf16>(0) + Me() * 8, Words4{});
  SyncThreads();
  const SharedPtr<Bf16> rows[1] = {Shared<Bf16>(8)};
  uint32_t registers[1][4];
  LoadMatrices<false>(rows, registers);
}
TEST(Detection, MatrixOfMisalignedRows) {
  EXPECT_THAT(FindingsOf<&MatrixMisalignedKernel>(), ElementsAre(FindingKind::kMisaligned));
}

void MatrixRaceKernel(Plan) {
  const SharedPtr<Bf16> rows[1] = {Shared<Bf16>(0) + Lane() * 8};
  if (Me() < 32) Store(rows[0], Words4{});
  SyncWarp();
  uint32_t registers[1][4];
  if (Me() >= 32) LoadMatrices<false>(rows, registers);
}
TEST(Detection, MatrixOfRowsThatAnotherWarpWrites) {
  EXPECT_THAT(FindingsOf<&MatrixRaceKernel>(), ElementsAre(FindingKind::kRace));
}

void AtomicsKernel(Plan p) {
  const SharedPtr<int> counts = Shared<int>(0);
  const SharedPtr<float> sum = Shared<float>(64);
  if (Me() < 3) Store(counts + Me(), -1);
  if (Me() == 3) Store(sum, 0.5f);
  SyncThreads();
  AtomicAdd(counts, 2);
  AtomicMax(counts + 1, Me() % 50);
  for (int before = -1, seen;
       (seen = AtomicCompareAndSwap(counts + 2, before, before + 1)) != before; before = seen) {
  }
  AtomicAdd(sum, 0.25f);
  AtomicAdd(GlobalPtr(p.x), 1.0f);
  SyncThreads();
  if (Me() > 0) return;
  Store(GlobalPtr(p.x) + 1, static_cast<float>(Load(counts)));
  Store(GlobalPtr(p.x) + 2, static_cast<float>(Load(counts + 1)));
  Store(GlobalPtr(p.x) + 3, static_cast<float>(Load(counts + 2)));
  Store(GlobalPtr(p.x) + 4, Load(sum));
}
TEST(Atomics, AddMaxAndSwapWithoutAFinding) {
  emulation::Tracked tracked;
  TheCard().TakeCounters();
  Plan plan;
  ASSERT_EQ(cudaMalloc(&plan.x, 256), cudaSuccess);
  ASSERT_EQ(cudaMemset(plan.x, 0, 256), cudaSuccess);
  ASSERT_EQ(
      (Launch<&AtomicsKernel>(nullptr, {.grid = {40}, .block = {64}, .shared_bytes = 1024}, plan)),
      cudaSuccess)
      << emulation::Describe(TheCard().findings().Take());
  float results[5];
  ASSERT_EQ(cudaMemcpy(results, plan.x, sizeof results, cudaMemcpyDeviceToHost), cudaSuccess);
  EXPECT_EQ(cudaFree(plan.x), cudaSuccess);
  EXPECT_THAT(results, ElementsAre(40 * 64, 2 * 64 - 1, 49, 63, 0.5f + 16));
  EXPECT_EQ(TheCard().TakeCounters().atomics, 40 * 2 * (4 + 2));
}

void AtomicAndReadKernel(Plan) {
  if (Me() == 0) Store(Shared<int>(0), 0);
  SyncThreads();
  AtomicAdd(Shared<int>(0), 1);
  Load(Shared<int>(0));  // others still add
}
TEST(Detection, ReadBesideAtomics) {
  // At the reading, and at the additions that follow it.
  EXPECT_THAT(FindingsOf<&AtomicAndReadKernel>(),
              ElementsAre(FindingKind::kRace, FindingKind::kRace));
}

void AtomicsThenWriteKernel(Plan) {
  if (Me() == 0) Store(Shared<int>(0), 0);
  SyncThreads();
  AtomicAdd(Shared<int>(0), 1);
  if (Me() == 63) Store(Shared<int>(0), 0);  // the latest to add, but not the only one
}
TEST(Detection, WriteBesideAtomics) {
  EXPECT_THAT(FindingsOf<&AtomicsThenWriteKernel>(), ElementsAre(FindingKind::kRace));
}

void WriteThenAtomicsKernel(Plan) {
  if (Me() == 0) Store(Shared<int>(0), 0);
  AtomicMax(Shared<int>(0), Me());
}
TEST(Detection, AtomicsBesideAWrite) {
  EXPECT_THAT(FindingsOf<&WriteThenAtomicsKernel>(), ElementsAre(FindingKind::kRace));
}

void AtomicUnwrittenKernel(Plan p) {
  AtomicAdd(Shared<int>(0), 1);
  AtomicAdd(GlobalPtr(p.x) + 200, 1.0f);
}
TEST(Detection, AtomicsOfWhatNothingHasWritten) {
  EXPECT_THAT(FindingsOf<&AtomicUnwrittenKernel>(),
              ElementsAre(FindingKind::kUninitialised, FindingKind::kUninitialised));
}

void AtomicBeyondKernel(Plan p) {
  AtomicAdd(Shared<int>(1024), 1);
  AtomicAdd(GlobalPtr(p.x) + 256, 1.0f);
}
TEST(Detection, AtomicsOutOfBounds) {
  EXPECT_THAT(FindingsOf<&AtomicBeyondKernel>(),
              ElementsAre(FindingKind::kOutOfBounds, FindingKind::kOutOfBounds));
}

void AtomicMisalignedKernel(Plan) { AtomicAdd(Shared<int>(2), 1); }
TEST(Detection, AtomicMisaligned) {
  EXPECT_THAT(FindingsOf<&AtomicMisalignedKernel>(), ElementsAre(FindingKind::kMisaligned));
}

void StridedKernel(Plan p) {
  const SharedPtr<float> shared = Shared<float>(0);
  if (Me() < 32) {
    Store(shared + Me() * 8, 1.0f);   // banks 0, 8, 16, 24: eight words each
    Load(GlobalPtr(p.x) + Me() * 4);  // a sector for two lanes
  }
  SyncThreads();
  Load(shared);                                   // one word for all: no conflict
  Load<Floats4>(GlobalPtr(p.x) + Me() % 32 * 4);  // 32 lanes of 16 bytes
}
TEST(Counting, RequestsSectorsAndBanks) {
  EXPECT_THAT(FindingsOf<&StridedKernel>(), ElementsAre());
  const Counters counters = TheCard().TakeCounters();
  EXPECT_EQ(counters.shared_stores, 1);
  EXPECT_EQ(counters.shared_loads, 2);
  EXPECT_EQ(counters.bank_conflicts, 7);
  EXPECT_EQ(counters.global_loads, 3);
  EXPECT_EQ(counters.sectors, 16 + 16 + 16);
  EXPECT_EQ(counters.ideal_sectors, 4 + 16 + 16);
  EXPECT_EQ(counters.global_bytes_loaded, 128 + 2 * 512);
  EXPECT_EQ(counters.barriers, 1);
}

}  // namespace
}  // namespace tiltshift::kernels
