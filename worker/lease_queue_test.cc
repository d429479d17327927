#include "worker/lease_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "worker/testing/leases.h"

namespace tiltshift::worker {
namespace {

using ::testing::ElementsAre;

v1::Turn Next(LeaseQueue& queue, uint64_t turn) {
  bool something = false;
  return queue.NextTurn(turn, 0, something);
}

v1::TurnAck Ack(uint64_t turn) {
  v1::TurnAck ack;
  ack.set_turn(turn);
  return ack;
}

TEST(LeaseQueue, VariantsGoOutOnceAndComeBackAsRanges) {
  LeaseQueue queue;
  ASSERT_TRUE(queue.Add(TestLease(1, 10, 3)).ok());
  for (uint64_t i = 10; i < 13; ++i) {
    const auto work = queue.Take();
    EXPECT_EQ(work->index, i);
    queue.Finish(*work, 0.5);
  }
  const v1::Turn turn = Next(queue, 1);
  ASSERT_EQ(turn.outcomes_size(), 1);
  ASSERT_EQ(turn.outcomes(0).committed_size(), 1);
  EXPECT_EQ(turn.outcomes(0).committed(0).count(), 3u);
  EXPECT_EQ(turn.outcomes(0).render_seconds(), 1.5);
  EXPECT_THAT(queue.HeldTokens(), ElementsAre(1));  // until the turn is acknowledged
  queue.Acknowledge(Ack(1));
  EXPECT_THAT(queue.HeldTokens(), ElementsAre());
}

// I2: what was not acknowledged goes out again.
TEST(LeaseQueue, UnacknowledgedOutcomesAreRepeated) {
  LeaseQueue queue;
  ASSERT_TRUE(queue.Add(TestLease(1, 0, 2)).ok());
  queue.Finish(*queue.Take(), 1);
  EXPECT_EQ(Next(queue, 1).outcomes_size(), 1);
  queue.Fail(*queue.Take(), "no light");
  queue.Unsend();
  const v1::Turn turn = Next(queue, 2);
  ASSERT_EQ(turn.outcomes_size(), 1);
  EXPECT_EQ(turn.outcomes(0).committed(0).first(), 0u);
  EXPECT_EQ(turn.outcomes(0).failed(0).reason(), "no light");
  EXPECT_EQ(turn.outcomes(0).render_seconds(), 1);
}

// I2: one turn's acknowledgement says nothing of the next turn's outcomes.
TEST(LeaseQueue, ALeaseIsHeldUntilItsLastTurnIsAcknowledged) {
  LeaseQueue queue;
  ASSERT_TRUE(queue.Add(TestLease(1, 0, 2)).ok());
  queue.Finish(*queue.Take(), 1);
  EXPECT_EQ(Next(queue, 1).outcomes_size(), 1);
  queue.Finish(*queue.Take(), 2);
  EXPECT_EQ(Next(queue, 2).outcomes_size(), 1);
  queue.Acknowledge(Ack(1));
  EXPECT_THAT(queue.HeldTokens(), ElementsAre(1));
  queue.Unsend();
  const v1::Turn turn = Next(queue, 3);
  ASSERT_EQ(turn.outcomes_size(), 1);
  EXPECT_EQ(turn.outcomes(0).committed(0).first(), 1u);
  queue.Acknowledge(Ack(3));
  EXPECT_THAT(queue.HeldTokens(), ElementsAre());
}

TEST(LeaseQueue, ADrainedQueueReleasesWhatNoSlotBegan) {
  LeaseQueue queue;
  ASSERT_TRUE(queue.Add(TestLease(1, 0, 5)).ok());
  ASSERT_TRUE(queue.Add(TestLease(2, 5, 5, false)).ok());
  const auto work = queue.Take();
  queue.Close();
  EXPECT_FALSE(queue.Take().has_value());
  v1::Turn turn = Next(queue, 1);
  ASSERT_EQ(turn.outcomes_size(), 1);  // lease 1 still renders
  EXPECT_EQ(turn.outcomes(0).token(), 2u);
  EXPECT_TRUE(turn.outcomes(0).released());
  queue.Finish(*work, 1);
  turn = Next(queue, 2);
  EXPECT_TRUE(turn.outcomes(0).released());
  EXPECT_EQ(turn.outcomes(0).committed(0).count(), 1u);
  queue.Acknowledge(Ack(1));
  queue.Acknowledge(Ack(2));
  EXPECT_THAT(queue.HeldTokens(), ElementsAre());
}

TEST(LeaseQueue, AReturnedVariantIsNeitherDoneNorFailed) {
  LeaseQueue queue;
  ASSERT_TRUE(queue.Add(TestLease(1, 0, 2)).ok());
  queue.Return(*queue.Take());
  queue.Close();
  const v1::Turn turn = Next(queue, 1);
  ASSERT_EQ(turn.outcomes_size(), 1);
  EXPECT_TRUE(turn.outcomes(0).released());
  EXPECT_EQ(turn.outcomes(0).committed_size() + turn.outcomes(0).failed_size(), 0);
}

TEST(LeaseQueue, ARevokedLeaseIsForgotten) {
  LeaseQueue queue;
  ASSERT_TRUE(queue.Add(TestLease(1, 0, 2)).ok());
  const auto work = queue.Take();
  queue.Drop(1);
  queue.Finish(*work, 1);
  EXPECT_EQ(Next(queue, 1).outcomes_size(), 0);
}

TEST(LeaseQueue, ALeaseThatMakesNoSenseIsRefused) {
  LeaseQueue queue;
  EXPECT_FALSE(queue.Add(TestLease(1, 0, 1, false)).ok());
  EXPECT_FALSE(queue.Add(TestLease(1, 99, 2)).ok());
}

TEST(LeaseQueue, WhatIsTrimmedIsNotBegunAndTheRestIsGivenBack) {
  LeaseQueue queue;
  ASSERT_TRUE(queue.Add(TestLease(1, 0, 10)).ok());
  const auto begun = queue.Take();
  queue.Trim(1, 2);
  const auto last = queue.Take();
  EXPECT_EQ(last->index, 1u);
  queue.Finish(*begun, 1);
  EXPECT_FALSE(Next(queue, 1).outcomes(0).released()) << "one is being rendered";
  queue.Finish(*last, 1);
  const v1::Turn turn = Next(queue, 2);
  EXPECT_TRUE(turn.outcomes(0).released());
  EXPECT_EQ(turn.outcomes(0).committed(0).first(), 1u);
  queue.Acknowledge(Ack(1));
  queue.Acknowledge(Ack(2));
  EXPECT_THAT(queue.HeldTokens(), ElementsAre());
}

TEST(LeaseQueue, ALeaseTrimmedToNothingIsGivenBackAtOnce) {
  LeaseQueue queue;
  ASSERT_TRUE(queue.Add(TestLease(1, 0, 10)).ok());
  queue.Trim(1, 0);
  queue.Trim(2, 0);  // not ours any more
  const v1::Turn turn = Next(queue, 1);
  ASSERT_EQ(turn.outcomes_size(), 1);
  EXPECT_TRUE(turn.outcomes(0).released());
  EXPECT_EQ(turn.outcomes(0).committed_size(), 0);
}

}  // namespace
}  // namespace tiltshift::worker
