#include "scheduler/farm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "scheduler/testing/wheel.h"

namespace tiltshift::scheduler {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(Farm, AnEndedJobThatGrowsRunsAgain) {
  Wheel wheel;
  wheel.farm_.AddJob("j", {}, 2, wheel.now_ms);
  wheel.Connect("w");
  auto leases = wheel.Turn("w", 1);
  while (!leases.empty()) leases = wheel.Turn("w", 1, {Done(leases[0])});
  EXPECT_EQ(wheel.View("j").state(), v1::JOB_STATE_DONE);

  v1::JobSpec grown;
  grown.set_name("grown");
  wheel.farm_.Extend("j", grown, 3);
  EXPECT_EQ(wheel.View("j").state(), v1::JOB_STATE_RUNNING);
  leases = wheel.Turn("w", 2);
  ASSERT_EQ(leases.size(), 1u);
  EXPECT_EQ(leases[0].range().first(), 2u);
  EXPECT_EQ(leases[0].spec().name(), "grown");  // the worker knew the smaller one
  wheel.farm_.Extend("j", {}, 2);               // an earlier one that comes late
  wheel.Turn("w", 0, {Done(leases[0])});
  EXPECT_EQ(wheel.View("j").state(), v1::JOB_STATE_DONE);
  EXPECT_EQ(wheel.View("j").variants(), 3u);

  wheel.farm_.AddJob("c", {}, 5, wheel.now_ms);
  wheel.Cancel("c");
  wheel.farm_.Extend("c", grown, 9);
  EXPECT_EQ(wheel.View("c").variants(), 5u);
}

TEST(Farm, AJobIsCutIntoLeasesAndEnds) {
  Wheel wheel;
  wheel.farm_.AddJob("j", {}, 100, wheel.now_ms);
  wheel.Connect("w");
  uint64_t last_token = 0;
  std::vector<v1::Lease> leases = wheel.Turn("w", 2);
  EXPECT_EQ(leases.size(), 2u);
  while (!leases.empty()) {
    std::vector<v1::Outcome> outcomes;
    for (const auto& lease : leases) {
      EXPECT_GT(lease.token(), last_token);
      last_token = lease.token();
      EXPECT_LE(lease.range().count(), 50u);
      outcomes.push_back(Done(lease, 0.5));
    }
    wheel.now_ms += 500;
    leases = wheel.Turn("w", 2, outcomes);
  }
  EXPECT_EQ(wheel.committed["j"].size(), 100u);
  EXPECT_EQ(wheel.View("j").state(), v1::JOB_STATE_DONE);
}

TEST(Farm, LeasesGrowToTheTargetAndShrinkAtTheTail) {
  Wheel wheel;
  wheel.farm_.AddJob("j", {}, 10'000, wheel.now_ms);
  wheel.Connect("w");
  auto leases = wheel.Turn("w", 1);
  EXPECT_EQ(leases[0].range().count(), 1u);  // a first one, to measure
  leases = wheel.Turn("w", 1, {Done(leases[0], 0.1)});
  EXPECT_EQ(leases[0].range().count(), 300u);  // 30 s at 0.1 s each
  while (wheel.committed["j"].size() < 9'990) leases = wheel.Turn("w", 1, {Done(leases[0], 0.1)});
  EXPECT_LE(leases[0].range().count(), 5u);
}

TEST(Farm, AnExpiredLeaseIsGivenToAnotherAndItsTokenIsStale) {
  Wheel wheel;
  wheel.farm_.AddJob("j", {}, 1, wheel.now_ms);
  wheel.Connect("slow");
  wheel.Connect("fast");
  const auto old_lease = wheel.Turn("slow", 1)[0];
  wheel.now_ms += wheel.options_.lease_ttl_ms;
  EXPECT_THAT(wheel.Turn("fast", 1), IsEmpty());  // the backoff
  EXPECT_THAT(wheel.revoked, ElementsAre(old_lease.token()));
  wheel.now_ms += wheel.options_.backoff_ms;
  const auto lease = wheel.Turn("fast", 1)[0];
  EXPECT_GT(lease.token(), old_lease.token());
  EXPECT_EQ(lease.attempt(), 2u);
  wheel.Turn("slow", 0, {Done(old_lease)});  // I3
  EXPECT_THAT(wheel.stale, ElementsAre(old_lease.token()));
  EXPECT_THAT(wheel.committed["j"], IsEmpty());
  wheel.Turn("fast", 0, {Done(lease)});
  EXPECT_EQ(wheel.View("j").state(), v1::JOB_STATE_DONE);
}

TEST(Farm, HeartbeatsKeepALease) {
  Wheel wheel;
  wheel.farm_.AddJob("j", {}, 1, wheel.now_ms);
  wheel.Connect("w");
  const auto lease = wheel.Turn("w", 1)[0];
  for (int i = 0; i < 10; ++i) {
    wheel.now_ms += wheel.options_.lease_ttl_ms - 1;
    v1::Heartbeat heartbeat;
    heartbeat.add_held_tokens(lease.token());
    wheel.farm_.Heartbeat("w", heartbeat, wheel.now_ms);
    wheel.Turn("w", 1);
  }
  EXPECT_THAT(wheel.revoked, IsEmpty());
  v1::Heartbeat foreign;
  foreign.add_held_tokens(lease.token());
  wheel.farm_.Heartbeat("other", foreign,
                        wheel.now_ms + 100'000);  // nobody keeps another's lease alive
  wheel.now_ms += wheel.options_.lease_ttl_ms;
  wheel.Turn("w", 1);
  EXPECT_THAT(wheel.revoked, ElementsAre(lease.token()));
}

TEST(Farm, AFailedVariantIsTriedAgainThenFailsWithItsReason) {
  Wheel wheel;
  wheel.farm_.AddJob("j", {}, 1, wheel.now_ms);
  wheel.Connect("w");
  for (uint32_t attempt = 0; attempt < wheel.options_.failed_attempts; ++attempt) {
    const auto leases = wheel.Turn("w", 1);
    ASSERT_EQ(leases.size(), 1u);
    EXPECT_THAT(wheel.Turn("w", 1, {Failed(leases[0], 0)}), IsEmpty());
    wheel.now_ms += 60'000;
  }
  const v1::Job job = wheel.View("j");
  EXPECT_EQ(job.state(), v1::JOB_STATE_FAILED);
  ASSERT_EQ(job.failures_size(), 1);
  EXPECT_EQ(job.failures(0).reason(), "too dark");
  EXPECT_EQ(job.failures(0).attempts(), 3u);
}

TEST(Farm, AVetoIsFinalAndNoFaultOfTheWorkers) {
  Wheel wheel;
  constexpr uint64_t kVariants = 6;  // more than make a worker give its lease back
  wheel.farm_.AddJob("j", {}, kVariants, wheel.now_ms);
  wheel.Connect("w");
  wheel.Connect("stands by");
  std::vector<v1::Outcome> vetoed;
  for (const v1::Lease& lease : wheel.Turn("w", kVariants)) {
    const v1::VariantRange& range = lease.range();
    for (uint64_t i = range.first(); i < range.first() + range.count(); ++i) {
      vetoed.push_back(Failed(lease, i));
      vetoed.back().mutable_failed(0)->set_vetoed(true);
    }
  }
  ASSERT_FALSE(vetoed.empty());
  wheel.Turn("w", 1, vetoed);
  EXPECT_THAT(wheel.stale, IsEmpty());
  EXPECT_EQ(wheel.failed["j"].size(), vetoed.size());
  const v1::Job job = wheel.View("j");
  EXPECT_EQ(job.failed(), vetoed.size());
  ASSERT_GT(job.failures_size(), 0);
  EXPECT_TRUE(job.failures(0).vetoed());
  EXPECT_EQ(job.failures(0).attempts(), 1u);
  EXPECT_EQ(wheel.farm_.counts(0).retried, 0u);
}

TEST(Farm, TheVariantThatKillsWorkersIsFoundAndTheRestRendered) {
  Wheel wheel;
  constexpr uint64_t kVariants = 64, kKiller = 37;
  wheel.farm_.AddJob("j", {}, kVariants, wheel.now_ms);
  int deaths = 0;
  for (int turn = 0; turn < 400 && wheel.View("j").ended_unix_ms() == 0; ++turn) {
    const std::string worker = "w" + std::to_string(deaths);
    wheel.Connect(worker, 32);
    for (const auto& lease : wheel.Turn(worker, 1)) {
      const auto& range = lease.range();
      if (kKiller >= range.first() && kKiller < range.first() + range.count()) {
        wheel.farm_.Disconnect(worker);
        ++deaths;
      } else {
        wheel.Turn(worker, 0, {Done(lease)});
      }
    }
    wheel.now_ms += 40'000;
  }
  EXPECT_EQ(wheel.committed["j"].size(), kVariants - 1);
  EXPECT_THAT(wheel.failed["j"], ElementsAre(kKiller));
  EXPECT_LE(deaths, 2 * 6 + 3);
  EXPECT_THAT(wheel.View("j").failures(0).reason(), ::testing::HasSubstr("its worker was lost"));
}

// Variants that a worker held beside the one that killed it, with two leases and at the tail.
TEST(Farm, TheKillersNeighboursDoNotFailWithIt) {
  for (const uint64_t variants : {2u, 8u, 24u, 64u}) {
    Wheel wheel;
    const uint64_t killer = variants / 3;
    wheel.farm_.AddJob("j", {}, variants, wheel.now_ms);
    int deaths = 0;
    for (int turn = 0; turn < 1000 && wheel.View("j").ended_unix_ms() == 0; ++turn) {
      const std::string worker = "w" + std::to_string(deaths);
      wheel.Connect(worker);
      const auto leases = wheel.Turn(worker, 2);
      const bool dies = std::any_of(leases.begin(), leases.end(), [&](const v1::Lease& lease) {
        return killer - lease.range().first() < lease.range().count();
      });
      if (dies) {
        wheel.farm_.Disconnect(worker);
        ++deaths;
      } else {
        for (const auto& lease : leases) wheel.Turn(worker, 0, {Done(lease, 0.1)});
      }
      wheel.now_ms += 40'000;
    }
    EXPECT_THAT(wheel.failed["j"], ElementsAre(killer)) << variants << " variants";
    EXPECT_EQ(wheel.committed["j"].size(), variants - 1);
  }
}

// A worker that always has more to do still frees itself for a suspect.
TEST(Farm, ASuspectWaitsForNoLongerThanALease) {
  Wheel wheel;
  wheel.farm_.AddJob("a", {}, 1, wheel.now_ms);
  wheel.Connect("dies");
  wheel.Turn("dies", 1);
  wheel.farm_.AddJob("b", {}, 1'000, wheel.now_ms);
  wheel.now_ms += 60'000;
  wheel.Connect("w");
  auto leases = wheel.Turn("w", 2);  // expires the other's lease, and takes of b meanwhile
  ASSERT_EQ(leases.size(), 2u);
  EXPECT_EQ(leases[0].job_id(), "b");
  wheel.now_ms += 1'000;
  EXPECT_THAT(wheel.Turn("w", 2, {Done(leases[0])}), IsEmpty());
  leases = wheel.Turn("w", 2, {Done(leases[1])});
  ASSERT_EQ(leases.size(), 1u);
  EXPECT_EQ(leases[0].job_id(), "a");
  leases = wheel.Turn("w", 2, {Done(leases[0])});
  EXPECT_EQ(leases.size(), 2u);
  EXPECT_EQ(wheel.View("a").state(), v1::JOB_STATE_DONE);
}

TEST(Farm, ACancelledJobTakesNothingMore) {
  Wheel wheel;
  wheel.farm_.AddJob("j", {}, 10, wheel.now_ms);
  wheel.Connect("w");
  const auto lease = wheel.Turn("w", 1)[0];
  wheel.Cancel("j");
  EXPECT_THAT(wheel.revoked, ElementsAre(lease.token()));
  EXPECT_THAT(wheel.Turn("w", 1, {Done(lease)}), IsEmpty());
  EXPECT_THAT(wheel.stale, ElementsAre(lease.token()));
  const v1::Job job = wheel.View("j");
  EXPECT_EQ(job.state(), v1::JOB_STATE_CANCELLED);
  EXPECT_EQ(job.cancelled(), 10u);
}

// As Redis sees it, which hears of commits first.
TEST(Farm, AJobThatEndsInTheRoundOfItsCancellationIsDone) {
  Wheel wheel;
  wheel.farm_.AddJob("j", {}, 1, wheel.now_ms);
  wheel.Connect("w");
  v1::Turn turn;
  *turn.add_outcomes() = Done(wheel.Turn("w", 1)[0]);
  Batch batch;
  std::vector<Outgoing> messages;
  wheel.farm_.TakeOutcomes("w", turn, wheel.now_ms, batch);
  wheel.farm_.CancelJob("j", wheel.now_ms, batch, messages);
  wheel.Apply(batch);
  EXPECT_EQ(wheel.View("j").state(), v1::JOB_STATE_DONE);
}

TEST(Farm, ARepeatedTurnCommitsOnce) {
  Wheel wheel;
  wheel.farm_.AddJob("j", {}, 4, wheel.now_ms);
  wheel.Connect("w", 4);
  const auto lease = wheel.Turn("w", 1)[0];
  v1::Outcome half = Done(lease);
  half.mutable_committed(0)->set_count(1);
  wheel.Turn("w", 1, {half});
  wheel.Turn("w", 1, {half});  // Apply fails the test on a second commit
  EXPECT_EQ(wheel.committed["j"].size(), 1u);
}

// I3: Redis may come back without its last second, and its leader be gone as well. What that one
// granted last is not granted again under the same token, to whatever worker.
TEST(Farm, ALaterLeaderGrantsNoTokenThatRedisForgot) {
  uint64_t last = 0;
  int64_t now_ms = 1'700'000'000'000;
  uint64_t stored_token = 41;
  for (const uint64_t epoch : {7, 11, 12}) {  // each forgotten
    now_ms += 2'000;
    Farm farm({}, epoch);
    store::StoredFarm stored;
    stored.last_token = stored_token;
    farm.Restore(stored, now_ms);
    farm.AddJob("j", v1::JobSpec(), 100, now_ms);
    v1::Hello hello;
    hello.set_worker_id("w");
    hello.set_slots(1);
    Batch batch;
    std::vector<Outgoing> messages;
    farm.Connect(hello, now_ms, batch);
    v1::Turn turn;
    turn.set_want_leases(1);
    farm.TakeOutcomes("w", turn, now_ms, batch);
    farm.Assign(now_ms, batch, messages);
    ASSERT_EQ(batch.jobs.size(), 1u);
    const uint64_t token = batch.jobs.at("j").grants.at(0).token;
    EXPECT_GT(token, last);
    last = token;
  }
}

// A Redis that came back, or a leader that died between a commit and its release, has leases that
// hold nothing: they would stay for ever.
TEST(Farm, LeasesThatHoldNothingAreReleased) {
  store::StoredFarm stored;
  for (const char* id : {"ended", "rendered"}) {
    store::StoredJob& job = stored.jobs.emplace_back();
    job.id = id;
    job.variants = 16;
    job.committed = 8;
    job.done_bits = std::string("\xff", 1);
  }
  stored.jobs[0].ended_ms = 5;
  stored.leases = {{1, "ended", 0, 8, 0, "w"},
                   {2, "rendered", 0, 8, 0, "w"},
                   {3, "rendered", 8, 8, 0, "w"},
                   {4, "unknown", 0, 8, 0, "w"}};
  Farm farm({}, 1);
  farm.Restore(stored, 1'000);
  Batch batch;
  std::vector<Outgoing> messages;
  farm.Assign(1'000, batch, messages);
  EXPECT_THAT(batch.releases, ::testing::UnorderedElementsAre(1, 2, 4));
}

TEST(Farm, RestoreKeepsLeasesAndProgress) {
  store::StoredFarm stored;
  stored.last_token = 41;
  store::StoredJob job;
  job.id = "j";
  job.variants = 20;
  job.committed = 9;
  job.done_bits = std::string("\xff\x80", 2);  // 0..8
  stored.jobs.push_back(job);
  stored.leases.push_back({41, "j", 8, 4, 0, "w"});  // of which 8 is done
  Wheel wheel;
  wheel.farm_.Restore(stored, wheel.now_ms);
  EXPECT_THAT(wheel.Connect("w", 1, {41, 7}), ElementsAre(7));
  for (uint64_t i = 0; i < 9; ++i) wheel.committed["j"].insert(i);
  v1::Lease lease;
  lease.set_token(41);
  lease.set_job_id("j");
  lease.mutable_range()->set_first(8);
  lease.mutable_range()->set_count(4);
  const auto next = wheel.Turn("w", 1, {Done(lease)});
  EXPECT_EQ(wheel.committed["j"].size(), 12u);
  ASSERT_EQ(next.size(), 1u);
  EXPECT_EQ(next[0].range().first(), 12u);
  EXPECT_GT(next[0].token(), 41u);
}

TEST(Farm, ALeaseThatNeverArrivedWaitsAgainAtOnce) {
  Wheel wheel;
  wheel.farm_.AddJob("j", {}, 1, wheel.now_ms);
  wheel.Connect("w");
  const auto lost = wheel.Turn("w", 1)[0];
  wheel.farm_.Disconnect("w");
  wheel.Connect("w");  // and names nothing
  const auto leases = wheel.Turn("w", 1);
  ASSERT_EQ(leases.size(), 1u);
  EXPECT_GT(leases[0].token(), lost.token());
  EXPECT_EQ(leases[0].attempt(), 1u);
  wheel.Turn("w", 0, {Done(lost), Done(leases[0])});
  EXPECT_THAT(wheel.stale, ElementsAre(lost.token()));
  EXPECT_EQ(wheel.View("j").state(), v1::JOB_STATE_DONE);
}

TEST(Farm, ReconcileTakesUpWhatRedisStillHas) {
  Wheel wheel;
  wheel.farm_.AddJob("j", {}, 6, wheel.now_ms);
  wheel.Connect("w");
  const auto done = wheel.Turn("w", 1)[0];
  const auto lost = wheel.Turn("w", 1, {Done(done)})[0];
  store::StoredFarm stored;  // before the commit of `done` and the grant of `lost`
  stored.last_token = done.token();
  store::StoredJob job;
  job.id = "j";
  job.variants = 6;
  job.started_ms = job.submitted_ms = wheel.now_ms;
  stored.jobs.push_back(job);
  stored.leases.push_back({done.token(), "j", 0, 1, 0, "w"});
  wheel.committed["j"].clear();

  Batch batch;
  std::vector<Outgoing> messages;
  wheel.farm_.Reconcile(stored, wheel.now_ms, batch, messages);
  EXPECT_THAT(batch.releases, ElementsAre(done.token()));
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_EQ(messages[0].message.revoke().token(), lost.token());
  wheel.Turn("w", 0, {Done(lost)});  // I3
  EXPECT_THAT(wheel.stale, ElementsAre(lost.token()));
  for (auto leases = wheel.Turn("w", 1); !leases.empty();) {
    EXPECT_GT(leases[0].token(), lost.token());
    EXPECT_EQ(leases[0].attempt(), 1u);  // no worker died
    leases = wheel.Turn("w", 1, {Done(leases[0])});
  }
  EXPECT_EQ(wheel.View("j").state(), v1::JOB_STATE_DONE);
}

// Of a lease that both still have, the worker has no more than what it had before.
TEST(Farm, ReconcileTakesFromALeaseWhatItsWorkerIsDoneWith) {
  Wheel wheel;
  wheel.farm_.AddJob("j", {}, 100, wheel.now_ms);
  wheel.Connect("w");
  const auto first = wheel.Turn("w", 1)[0];
  auto rest = wheel.Turn("w", 1, {Done(first, 0.01)})[0];
  ASSERT_GT(rest.range().count(), 3u);
  store::StoredFarm stored;  // with the second lease, without what was committed of it
  stored.last_token = rest.token();
  stored.leases.push_back({rest.token(), "j", rest.range().first(), rest.range().count(), 0, "w"});
  store::StoredJob job;
  job.id = "j";
  job.variants = 100;
  job.started_ms = job.submitted_ms = wheel.now_ms;
  stored.jobs.push_back(job);
  auto begun = rest;
  begun.mutable_range()->set_count(3);
  wheel.Turn("w", 0, {Done(begun)});
  wheel.committed["j"].clear();

  Batch batch;
  std::vector<Outgoing> messages;
  wheel.farm_.Reconcile(stored, wheel.now_ms, batch, messages);
  EXPECT_TRUE(messages.empty());
  rest.mutable_range()->set_first(rest.range().first() + 3);
  rest.mutable_range()->set_count(rest.range().count() - 3);
  for (auto leases = wheel.Turn("w", 1, {Done(rest)}); !leases.empty();)
    leases = wheel.Turn("w", 1, {Done(leases[0])});
  EXPECT_EQ(wheel.View("j").state(), v1::JOB_STATE_DONE) << "no lease had to end for it";
}

// Safety first (Apply checks that nothing commits twice), then, when the faults stop, liveness:
// every job ends.
TEST(FarmChaos, AnySeedEndsEveryJobOnce) {
  for (unsigned seed = 1; seed <= 60; ++seed) {
    std::mt19937 random(seed);
    auto chance = [&](int percent) { return static_cast<int>(random() % 100) < percent; };
    Wheel wheel;
    for (const char* job : {"a", "b", "c"})
      wheel.farm_.AddJob(job, {}, 1 + random() % 200, wheel.now_ms);
    std::map<std::string, std::vector<v1::Lease>> held;
    std::vector<v1::Outcome> late;
    int generation = 0;
    for (int turn = 0; turn < 3000; ++turn) {
      const bool calm = turn > 1500;
      const std::string worker =
          "w" + std::to_string(random() % 4) + (calm ? "" : "-" + std::to_string(generation));
      if (!calm && chance(3)) ++generation;  // all workers die and come back under new names
      std::vector<uint64_t> tokens;
      for (const auto& lease : held[worker]) tokens.push_back(lease.token());
      wheel.Connect(worker, 1 + random() % 3, tokens);
      std::vector<v1::Outcome> outcomes;
      for (const auto& lease : held[worker]) {
        if (!calm && chance(15)) continue;                     // lost
        if (!calm && chance(10)) late.push_back(Done(lease));  // and delivered again, much later
        outcomes.push_back(!calm && chance(5) ? Failed(lease, lease.range().first())
                                              : Done(lease, 0.01));
        if (outcomes.back().failed_size() > 0) outcomes.back().set_released(true);
      }
      if (!late.empty() && chance(20)) {
        outcomes.push_back(late.back());
        late.pop_back();
      }
      held[worker] = wheel.Turn(worker, 1 + random() % 3, outcomes);
      wheel.now_ms += calm ? 5'000 : random() % 8'000;
    }
    for (const char* job : {"a", "b", "c"}) {
      const v1::Job view = wheel.View(job);
      ASSERT_NE(view.ended_unix_ms(), 0) << "seed " << seed << ": job " << job << " never ended";
      ASSERT_EQ(wheel.committed[job].size() + wheel.failed[job].size(), view.variants())
          << "seed " << seed;
    }
  }
}

}  // namespace
}  // namespace tiltshift::scheduler
