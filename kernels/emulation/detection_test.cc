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
