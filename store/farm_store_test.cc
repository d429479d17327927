// The Redis functions against a real redis-server.
#include "store/farm_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "tests/support/redis_server.h"

namespace tiltshift::store {
namespace {

using ::testing::HasSubstr;

// A server that has no FUNCTION is as Redis 6 is, also where the installed one is newer.
enum class Server { kAsInstalled, kWithoutFunctions };

class FarmStoreTest : public ::testing::TestWithParam<Server> {
 protected:
  void SetUp() override {
    std::vector<std::string> options;
    if (GetParam() == Server::kWithoutFunctions) {
      if (!tests::RedisServer::HasFunctions())
        GTEST_SKIP() << "the installed redis-server has none";
      options = {"--rename-command", "FUNCTION", ""};
    }
    redis_ = std::make_unique<tests::RedisServer>(tests::FreshFolder(), options);
    store_ = std::make_unique<FarmStore>(*ParseRedisAddress(redis_->address()));
    ASSERT_TRUE(store_->Prepare().ok());
    const auto epoch = store_->Lead("me", 60'000, 0);
    ASSERT_TRUE(epoch.ok()) << epoch.status();
    epoch_ = *epoch;
  }

  static v1::VariantRange Range(uint64_t first, uint64_t count) {
    v1::VariantRange range;
    range.set_first(first);
    range.set_count(count);
    return range;
  }
  void SubmitJob(const std::string& id, uint64_t variants, const std::string& request = "") {
    v1::JobSpec spec;
    spec.set_name(id);
    ASSERT_TRUE(
        store_->WriteAll({FarmStore::Submit(epoch_, id, spec, variants, 1000, request)}).ok());
  }
  void Grant(uint64_t token, const std::string& job, uint64_t first, uint64_t count) {
    ASSERT_TRUE(store_
                    ->WriteAll({FarmStore::Turns(
                        epoch_, job, {{}, {{token, job, first, count, 0, "w"}}, {}, 0}, 2000)})
                    .ok());
  }
  std::vector<RedisReply> Commit(const std::string& job, const StoredOutcome& outcome) {
    const auto replies =
        store_->WriteAll({FarmStore::Turns(epoch_, job, {{outcome}, {}, {}, 0}, 3000)});
    EXPECT_TRUE(replies.ok()) << replies.status();
    return (*replies)[0].items;
  }
  StoredJob Load(const std::string& id) {
    const auto farm = store_->Load();
    EXPECT_TRUE(farm.ok()) << farm.status();
    for (const auto& job : farm->jobs) {
      if (job.id == id) return job;
    }
    ADD_FAILURE() << "no job " << id;
    return {};
  }

  std::unique_ptr<tests::RedisServer> redis_;
  std::unique_ptr<FarmStore> store_;
  uint64_t epoch_ = 0;
};

TEST_P(FarmStoreTest, AContestGrows) {
  SubmitJob("j", 10);
  Grant(1, "j", 0, 10);
  StoredOutcome outcome{1, {Range(0, 8)}, {{8, true, 3, "too dark"}, {9, true, 3, "too light"}}};
  Commit("j", outcome);
  EXPECT_NE(Load("j").ended_ms, 0);
  v1::JobSpec spec;
  spec.set_name("grown");
  const auto append = [&](uint64_t variants) {
    const auto replies = store_->WriteAll({FarmStore::Append(epoch_, "j", spec, variants)});
    return replies.ok() ? (*replies)[0].integer : -1;
  };
  EXPECT_EQ(append(25), 1);
  EXPECT_EQ(append(25), 0);  // the same group again
  EXPECT_EQ(append(20), 0);  // an earlier one that comes late
  const StoredJob job = Load("j");
  EXPECT_EQ(job.spec.name(), "grown");
  EXPECT_EQ(job.variants, 25u);
  EXPECT_EQ(job.ended_ms, 0);
  EXPECT_EQ(job.committed, 8u);

  const auto progress = store_->LoadProgress("j", Range(6, 5));
  ASSERT_TRUE(progress.ok()) << progress.status();
  EXPECT_EQ(progress->committed, std::vector<bool>({true, true, false, false, false}));
  EXPECT_EQ(progress->failed, std::vector<bool>({false, false, true, true, false}));
  EXPECT_EQ(progress->reasons.at(9), "too light");
  const auto failures = store_->LoadFailures("j", 9, 5);
  ASSERT_TRUE(failures.ok()) << failures.status();
  ASSERT_EQ(failures->failed.size(), 1u);
  EXPECT_EQ(failures->failed[0].index, 9u);
  EXPECT_EQ(failures->failed[0].reason, "too light");
  EXPECT_EQ(failures->failed[0].attempts, 3u);
  EXPECT_EQ(failures->next, 0u);

  ASSERT_TRUE(store_->WriteAll({FarmStore::Cancel(epoch_, "j", 4000)}).ok());
  EXPECT_EQ(append(30), 0);
  EXPECT_FALSE(store_->WriteAll({FarmStore::Append(epoch_ + 1, "j", spec, 40)}).ok());
}

// Near each other and so far apart that they are read apart, page by page.
TEST_P(FarmStoreTest, FailuresAreListedPageByPage) {
  const std::vector<uint64_t> failed = {0, 1, 7, 8, 524'286, 524'287, 524'288, 9'000'001};
  SubmitJob("j", 10'000'000);
  Grant(1, "j", 0, 10'000'000);
  StoredOutcome outcome{1, {Range(2, 5)}, {}};
  for (const uint64_t index : failed)
    outcome.failed.push_back({index, true, 2, "of " + std::to_string(index)});
  outcome.failed.push_back({9, false, 1, "tried again"});
  Commit("j", outcome);
  for (const size_t limit : {1u, 3u, 100u}) {
    std::vector<uint64_t> seen;
    uint64_t next = 0;
    do {
      const auto page = store_->LoadFailures("j", next, limit);
      ASSERT_TRUE(page.ok()) << page.status();
      ASSERT_LE(page->failed.size(), limit);
      for (const StoredFailure& failure : page->failed) {
        EXPECT_EQ(failure.reason, "of " + std::to_string(failure.index));
        seen.push_back(failure.index);
      }
      next = page->next;
    } while (next != 0);
    EXPECT_EQ(seen, failed) << limit;
  }
  EXPECT_TRUE(store_->LoadFailures("none", 0, 9)->failed.empty());
}

TEST_P(FarmStoreTest, OneLeads) {
  EXPECT_EQ(*store_->Lead("me", 60'000, epoch_), epoch_);
  const auto other = store_->Lead("other", 60'000, 0);
  EXPECT_THAT(std::string(other.status().message()), HasSubstr("another scheduler leads: me"));
  ASSERT_TRUE(store_->Resign("me", epoch_).ok());
  EXPECT_GT(*store_->Lead("other", 60'000, 0), epoch_);
}

// I3: a server that came back without this leadership, but for another's, is led under an epoch
// that is later than both; one that lost everything is not.
TEST_P(FarmStoreTest, ALeadThatTheServerForgot) {
  auto& client = store_->client();
  ASSERT_TRUE(
      client.RunAll({{"SET", "ts:epoch", std::to_string(epoch_ - 1)}, {"DEL", "ts:leader"}}).ok());
  const auto again = store_->Lead("me", 60'000, epoch_);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_GT(*again, epoch_);
  EXPECT_EQ(client.Run({"GET", "ts:epoch"})->text, std::to_string(*again));
  EXPECT_EQ(*store_->Lead("me", 60'000, *again), *again);
  for (const RedisCommand& command :
       {RedisCommand{"SET", "ts:leader", "other"}, {"INCR", "ts:epoch"}, {"DEL", "ts:epoch"}}) {
    ASSERT_TRUE(client.RunAll({{"DEL", "ts:leader"}, command}).ok());
    EXPECT_EQ(store_->Lead("me", 60'000, *again).status().code(),
              absl::StatusCode::kFailedPrecondition)
        << command[0];
  }
}

// I3: a former leader changes nothing.
TEST_P(FarmStoreTest, AStaleEpochWritesNothing) {
  SubmitJob("j", 10);
  Grant(1, "j", 0, 10);
  ASSERT_TRUE(store_->Resign("me", epoch_).ok());
  ASSERT_TRUE(store_->Lead("other", 60'000, 0).ok());
  v1::JobSpec spec;
  for (const Write& write :
       {FarmStore::Submit(epoch_, "k", spec, 1, 0, ""),
        FarmStore::Turns(epoch_, "j", {{}, {{2, "j", 0, 1, 0, "w"}}, {}, 0}, 0),
        FarmStore::Turns(epoch_, "j", {{{1, {Range(0, 10)}, {}}}, {}, {1}, 0}, 0),
        FarmStore::Cancel(epoch_, "j", 1), FarmStore::Turns(epoch_, "", {{}, {}, {1}, 0}, 0)}) {
    EXPECT_EQ(store_->WriteAll({write}).status().code(), absl::StatusCode::kFailedPrecondition);
  }
  const StoredJob job = Load("j");
  EXPECT_EQ(job.committed, 0u);
  EXPECT_FALSE(job.cancelled);
  EXPECT_EQ(store_->Load()->leases.size(), 1u);
}

// A list would be walked through for each field of each turn.
TEST_P(FarmStoreTest, LeasesAreATableHoweverFew) {
  SubmitJob("j", 10);
  Grant(1, "j", 0, 5);
  Grant(2, "j", 5, 5);
  store::RedisClient& client = store_->client();
  EXPECT_EQ(client.Run({"OBJECT", "ENCODING", "ts:leases"})->text, "hashtable");
  const auto stored = store_->Load();
  ASSERT_TRUE(stored.ok());
  ASSERT_EQ(stored->leases.size(), 2u);
  for (const StoredLease& lease : stored->leases) EXPECT_EQ(lease.worker_id, "w");
}

// I1: bits count once, however ranges overlap, align or repeat.
TEST_P(FarmStoreTest, ABitCountsOnce) {
  SubmitJob("j", 1000);
  Grant(1, "j", 0, 1000);
  EXPECT_EQ(Commit("j", {1, {Range(3, 1)}, {}})[0].integer, 1);
  EXPECT_EQ(Commit("j", {1, {Range(0, 100)}, {}})[0].integer, 100);
  EXPECT_EQ(Commit("j", {1, {Range(0, 100)}, {}})[0].integer, 100);
  EXPECT_EQ(Commit("j", {1, {Range(95, 30), Range(500, 1)}, {}})[0].integer, 126);
  EXPECT_EQ(Commit("j", {1, {Range(0, 1000)}, {}})[0].integer, 1000);
  const StoredJob job = Load("j");
  EXPECT_EQ(job.committed, 1000u);
  EXPECT_EQ(job.ended_ms, 3000);
}

// I1: any ranges, short and long, beside any failures, against a bitmap kept here.
TEST_P(FarmStoreTest, AnyRangesCommitAsTheyShould) {
  constexpr uint64_t kVariants = 100'000;
  SubmitJob("j", kVariants);
  Grant(1, "j", 0, kVariants);
  std::mt19937_64 random(7);
  const auto below = [&](uint64_t most) { return random() % most; };
  std::string done(kVariants, 0), failed(kVariants, 0);
  for (int round = 0; round < 60; ++round) {
    StoredOutcome outcome{1, {}, {}};
    const uint64_t around = below(kVariants);
    for (uint64_t i = 0; i < 1 + below(40); ++i) {
      const uint64_t first = below(2) == 0 ? below(kVariants) : (around + below(300)) % kVariants;
      const uint64_t longest = below(10) == 0 ? 40'000 : below(2) == 0 ? 100 : 1;
      const uint64_t count = std::min(kVariants - first, 1 + below(longest));
      outcome.committed.push_back(Range(first, count));
      for (uint64_t v = first; v < first + count; ++v) done[v] |= failed[v] == 0;
    }
    if (round % 5 == 4) {
      const uint64_t index = below(kVariants);
      outcome.failed.push_back({index, true, 3, "broken"});
      failed[index] |= done[index] == 0;
    }
    const auto totals = Commit("j", outcome);
    ASSERT_EQ(totals[0].integer, std::count(done.begin(), done.end(), 1)) << "round " << round;
    ASSERT_EQ(totals[1].integer, std::count(failed.begin(), failed.end(), 1));
  }
  const StoredJob job = Load("j");
  for (uint64_t v = 0; v < kVariants; ++v) {
    const auto bit = [&](const std::string& bits) {
      return v / 8 < bits.size() && (static_cast<uint8_t>(bits[v / 8]) & (128 >> v % 8)) != 0;
    };
    ASSERT_EQ(bit(job.done_bits), done[v] != 0) << v;
    ASSERT_EQ(bit(job.failed_bits), failed[v] != 0) << v;
  }
}

TEST_P(FarmStoreTest, AFailedVariantNeverCommitsNorTheOtherWay) {
  SubmitJob("j", 16);
  Grant(1, "j", 0, 16);
  Commit("j", {1,
               {Range(5, 1)},
               {{2, true, 3, "broken"}, {5, true, 3, "too late"}, {6, false, 1, "again"}}});
  const auto totals = Commit("j", {1, {Range(0, 8)}, {}});
  EXPECT_EQ(totals[0].integer, 7);
  EXPECT_EQ(totals[1].integer, 1);
  const StoredJob job = Load("j");
  EXPECT_EQ(job.failures, (std::map<uint64_t, std::string>{{2, "broken"}}));
  EXPECT_EQ(job.attempts.at(6), 1u);
  EXPECT_EQ(job.done_bits, std::string("\xdf", 1));
}

// I3: no lease, another job's lease, a released lease.
TEST_P(FarmStoreTest, AStaleTokenCommitsNothing) {
  SubmitJob("j", 8);
  SubmitJob("k", 8);
  Grant(1, "k", 0, 8);
  Grant(2, "j", 0, 8);
  ASSERT_TRUE(store_->WriteAll({FarmStore::Turns(epoch_, "", {{}, {}, {2}, 0}, 0)}).ok());
  for (const uint64_t token : {1, 2, 99}) {
    const auto reply = Commit("j", {token, {Range(0, 8)}, {{0, true, 1, "x"}}});
    EXPECT_EQ(reply[0].integer, 0);
    ASSERT_EQ(reply.size(), 3u);
    EXPECT_EQ(reply[2].text, std::to_string(token));
  }
  EXPECT_EQ(Load("j").failed, 0u);
}

TEST_P(FarmStoreTest, TheSameRequestIsOneJob) {
  v1::JobSpec spec;
  const auto first = store_->WriteAll({FarmStore::Submit(epoch_, "a", spec, 1, 0, "r")});
  const auto second = store_->WriteAll({FarmStore::Submit(epoch_, "b", spec, 1, 0, "r")});
  EXPECT_EQ((*first)[0].text, "a");
  EXPECT_EQ((*second)[0].text, "a");
  EXPECT_EQ(store_->Load()->jobs.size(), 1u);
}

// I2: what was answered is there after kill -9, functions included.
// With `everysec` Redis answers before it writes while an earlier sync is under way, and a kill
// then loses what it answered.
TEST_P(FarmStoreTest, AcknowledgedWritesSurviveKillMinus9) {
  ASSERT_TRUE(store_->client().Run({"CONFIG", "SET", "appendfsync", "always"}).ok());
  SubmitJob("j", 100);
  Grant(7, "j", 0, 50);
  Commit("j", {7, {Range(0, 33)}, {}});
  redis_->KillMinus9();
  EXPECT_EQ(store_->Load().status().code(), absl::StatusCode::kUnavailable);
  redis_->Start();
  const StoredJob job = Load("j");
  EXPECT_EQ(job.committed, 33u);
  const auto farm = store_->Load();
  EXPECT_EQ(farm->last_token, 7u);
  ASSERT_EQ(farm->leases.size(), 1u);
  EXPECT_EQ(farm->leases[0].count, 50u);
  EXPECT_EQ(Commit("j", {7, {Range(33, 7)}, {}})[0].integer, 40);
}

// I5: ten million variants cost a few hundred bytes until they run, and a bitmap of 1.25 MB when
// they have.
TEST_P(FarmStoreTest, TenMillionVariantsAreSmall) {
  auto used = [&] {
    const auto info = store_->client().Run({"INFO", "memory"});
    return std::stoll(info->text.substr(info->text.find("used_memory:") + 12));
  };
  const int64_t before = used();
  SubmitJob("j", 10'000'000);
  EXPECT_LT(used() - before, 100'000);
  Grant(1, "j", 0, 10'000'000);
  EXPECT_EQ(Commit("j", {1, {Range(0, 10'000'000)}, {}})[0].integer, 10'000'000);
  EXPECT_LT(used() - before, 5'000'000);
}

// An empty server in the old one's place, or one that keeps no scripts.
TEST_P(FarmStoreTest, LostFunctionsAreLoadedAgain) {
  SubmitJob("j", 10);
  store_->client().Run({"FUNCTION", "FLUSH"}).IgnoreError();
  ASSERT_TRUE(store_->client().Run({"SCRIPT", "FLUSH"}).ok());
  Grant(1, "j", 0, 10);
  EXPECT_EQ(Commit("j", {1, {Range(0, 4)}, {}})[0].integer, 4);
  store_->client().Run({"FUNCTION", "FLUSH"}).IgnoreError();
  ASSERT_TRUE(store_->client().Run({"SCRIPT", "FLUSH"}).ok());
  EXPECT_EQ(*store_->Lead("me", 60'000, epoch_), epoch_);
}

INSTANTIATE_TEST_SUITE_P(Servers, FarmStoreTest,
                         ::testing::Values(Server::kAsInstalled, Server::kWithoutFunctions),
                         [](const auto& info) {
                           return info.param == Server::kAsInstalled ? "AsInstalled"
                                                                     : "WithoutFunctions";
                         });

TEST(FarmStoreWithoutRedis, SaysWhereItLooked) {
  FarmStore store(*ParseRedisAddress("unix:/nonexistent/redis"));
  const absl::Status status = store.Prepare();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("Redis at unix:/nonexistent/redis: "));
}

}  // namespace
}  // namespace tiltshift::store
