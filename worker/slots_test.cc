#include "worker/slots.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <new>
#include <stdexcept>

#include "tests/support/process.h"
#include "worker/testing/leases.h"

namespace tiltshift::worker {
namespace {

using ::testing::HasSubstr;

constexpr int kVariants = 4;
constexpr int kPatienceMs = 20'000;

// Counts what was begun; variant `throws_at` throws; `fails` and `denoises`, where set, say what a
// renderer makes of a variant.
class CountingRenderers : public Renderers {
 public:
  std::unique_ptr<VariantRenderer> MakeOne() override { return std::make_unique<One>(*this); }
  absl::StatusOr<std::vector<v1::ModelInfo>> Models() override {
    return std::vector<v1::ModelInfo>{};
  }
  std::atomic<int> begun{0};
  std::atomic<int> alive{0};
  int throws_at = -1;
  std::function<absl::Status(int alive)> fails;
  std::function<absl::Status(const plan::Variant&, Stops&)> denoises;

 private:
  class One : public VariantRenderer {
   public:
    explicit One(CountingRenderers& all) : all_(all) { ++all_.alive; }
    ~One() override { --all_.alive; }
    absl::StatusOr<RenderedVariant> Render(const plan::Plan&, const plan::Variant& variant,
                                           const Source&, Stops& stops) override {
      ++all_.begun;
      if (static_cast<int>(variant.index) == all_.throws_at) throw std::runtime_error("no memory");
      if (all_.fails) TS_RETURN_IF_ERROR(all_.fails(all_.alive));
      if (all_.denoises) TS_RETURN_IF_ERROR(all_.denoises(variant, stops));
      return RenderedVariant{.png = absl::StrCat("picture ", variant.index),
                             .render_class = "test"};
    }

   private:
    CountingRenderers& all_;
  };
};

// A folder, whose writes first do `before`.
class WatchedStore : public store::BlobStore {
 public:
  WatchedStore(const std::string& folder, std::function<absl::Status()> before)
      : files_(*store::OpenFileBlobStore(folder, 0)), before_(std::move(before)) {}
  absl::StatusOr<bool> PutIfAbsent(const std::string& key, std::string_view bytes) override {
    TS_RETURN_IF_ERROR(before_());
    return files_->PutIfAbsent(key, bytes);
  }
  absl::StatusOr<std::string> Get(const std::string& key) override { return files_->Get(key); }
  absl::StatusOr<bool> Exists(const std::string& key) override { return files_->Exists(key); }
  absl::StatusOr<std::vector<std::string>> ListSome(const std::string& prefix,
                                                    size_t most) override {
    return files_->ListSome(prefix, most);
  }
  absl::Status Delete(const std::string& key) override { return files_->Delete(key); }

 private:
  std::unique_ptr<store::BlobStore> files_;
  std::function<absl::Status()> before_;
};

class SlotsTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(queue_.Add(TestLease(1, 0, kVariants)).ok()); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // Over `blobs`, until all variants have an outcome or the lease is given back.
  v1::Outcome RenderInto(store::BlobStore& blobs, int count = 1, PhotoReader* photos = nullptr,
                         moderation::Moderator* moderator = nullptr) {
    Slots slots(count, renderers_, queue_, blobs, metrics_, "w", photos, moderator);
    v1::Outcome all;
    const auto take = [&] {
      bool something = false;
      const v1::Turn turn = queue_.NextTurn(++turn_, 10, something);
      for (const v1::Outcome& outcome : turn.outcomes()) all.MergeFrom(outcome);
      uint64_t count = static_cast<uint64_t>(all.failed_size());
      for (const v1::VariantRange& range : all.committed()) count += range.count();
      return count == kVariants || all.released();
    };
    EXPECT_TRUE(tests::WaitFor(take, kPatienceMs));
    trouble_ = slots.trouble();
    queue_.Close();
    return all;
  }

  const std::string folder_ = tests::FreshFolder();
  monitoring::Registry registry_;
  monitoring::WorkerMetrics metrics_{registry_};
  LeaseQueue queue_;
  CountingRenderers renderers_;
  absl::Status trouble_;
  uint64_t turn_ = 0;
};

TEST_F(SlotsTest, RendersWhileTheOneBeforeIsStored) {
  int writes = 0, most_begun_at_first = 0;
  WatchedStore blobs(folder_, [&] {
    if (writes++ == 0) {
      EXPECT_TRUE(tests::WaitFor([&] { return renderers_.begun >= 2; }, kPatienceMs));
      most_begun_at_first = renderers_.begun;
    }
    return absl::OkStatus();
  });
  const v1::Outcome outcome = RenderInto(blobs);
  EXPECT_EQ(outcome.failed_size(), 0);
  EXPECT_EQ(renderers_.begun, kVariants);
  EXPECT_EQ(writes, 2 * kVariants);   // a picture and its manifest line
  EXPECT_LE(most_begun_at_first, 3);  // stored, waiting, and one that waits for room
  const auto keys = blobs.ListSome("jobs/j/outputs/", 100);
  ASSERT_TRUE(keys.ok());
  EXPECT_EQ(keys->size(), size_t{kVariants});
}

TEST_F(SlotsTest, WhatIsThrownFailsThatVariantOnly) {
  renderers_.throws_at = 2;
  WatchedStore blobs(folder_, [] { return absl::OkStatus(); });
  const v1::Outcome outcome = RenderInto(blobs);
  ASSERT_EQ(outcome.failed_size(), 1);
  EXPECT_EQ(outcome.failed(0).index(), 2u);
  EXPECT_THAT(outcome.failed(0).reason(), HasSubstr("no memory"));
}

// Redis came back without its last second: what was committed, and whose photo is gone since, is
// asked for again.
TEST_F(SlotsTest, WithoutItsPhotoAVariantCountsWhereItsPictureIsStored) {
  queue_.Drop(1);
  v1::Lease lease = TestLease(2, 0, kVariants);
  lease.set_job_id("k");
  lease.mutable_spec()->set_photo("p0123456789abcdef0123456789abcdef");
  ASSERT_TRUE(queue_.Add(lease).ok());
  WatchedStore blobs(folder_, [] { return absl::OkStatus(); });
  const auto plan = plan::Plan::Create(lease.spec());
  ASSERT_TRUE(plan.ok()) << plan.status();
  const std::string stored = "jobs/k/outputs/" + plan->At(1).output_name;
  ASSERT_TRUE(blobs.PutIfAbsent(stored, "picture 1").ok());
  int asked = 0;
  PhotoReader photos(
      blobs, "w",
      [&](const v1::OpenPhotoRequest& request) -> absl::StatusOr<v1::OpenPhotoResponse> {
        EXPECT_EQ(request.token(), 2u);
        ++asked;
        return absl::NotFoundError("destroyed");
      });
  const v1::Outcome outcome = RenderInto(blobs, 1, &photos);
  EXPECT_EQ(asked, kVariants);
  EXPECT_EQ(renderers_.begun, 0);
  ASSERT_EQ(outcome.failed_size(), kVariants - 1);
  EXPECT_THAT(outcome.failed(0).reason(), HasSubstr("its photo was destroyed"));
  ASSERT_EQ(outcome.committed_size(), 1);
  EXPECT_EQ(outcome.committed(0).first(), 1u);
  EXPECT_EQ(*blobs.Get(stored), "picture 1");
  EXPECT_EQ(blobs.List("jobs/k/manifest/")->size(), 1u);
}

// Says no to what it is told to, and has no answer to what begins with "?".
class Judge : public moderation::Moderator {
 public:
  absl::Status Review(const v1::ReviewRequest& request) override {
    if (request.text().starts_with("?")) return absl::UnavailableError("asleep");
    return request.kind() == vetoes ? absl::PermissionDeniedError("no") : absl::OkStatus();
  }
  v1::ReviewKind vetoes = v1::REVIEW_KIND_UNSPECIFIED;
};

TEST_F(SlotsTest, AVetoIsToldAsOneAndAPhotoIsNotOpenedForAVetoedPrompt) {
  for (const auto kind : {v1::REVIEW_KIND_PROMPT, v1::REVIEW_KIND_OUTPUT}) {
    queue_.Drop(1);
    LeaseQueue queue;
    v1::Lease lease = TestLease(3, 0, 1);
    lease.mutable_spec()->set_photo("p0123456789abcdef0123456789abcdef");
    if (kind == v1::REVIEW_KIND_OUTPUT) lease.mutable_spec()->clear_photo();
    ASSERT_TRUE(queue.Add(lease).ok());
    WatchedStore blobs(folder_, [] { return absl::OkStatus(); });
    PhotoReader photos(blobs, "w",
                       [&](const v1::OpenPhotoRequest&) -> absl::StatusOr<v1::OpenPhotoResponse> {
                         ADD_FAILURE() << "its key was asked for";
                         return absl::NotFoundError("");
                       });
    Judge judge;
    judge.vetoes = kind;
    Slots slots(1, renderers_, queue, blobs, metrics_, "w", &photos, &judge);
    v1::Turn turn;
    EXPECT_TRUE(tests::WaitFor(
        [&] {
          bool something = false;
          turn = queue.NextTurn(++turn_, 10, something);
          return turn.outcomes_size() > 0;
        },
        kPatienceMs));
    queue.Close();
    ASSERT_EQ(turn.outcomes(0).failed_size(), 1);
    EXPECT_TRUE(turn.outcomes(0).failed(0).vetoed());
    EXPECT_TRUE(blobs.List("jobs/")->empty());
  }
}

TEST_F(SlotsTest, NoAnswerIsNoVeto) {
  queue_.Drop(1);
  v1::Lease lease = TestLease(2, 0, kVariants);
  lease.set_job_id("k");
  lease.mutable_spec()->set_prompt("?");
  ASSERT_TRUE(queue_.Add(lease).ok());
  WatchedStore blobs(folder_, [] { return absl::OkStatus(); });
  Judge judge;
  const v1::Outcome outcome = RenderInto(blobs, 1, nullptr, &judge);
  ASSERT_EQ(outcome.failed_size(), kVariants);
  EXPECT_FALSE(outcome.failed(0).vetoed());
}

TEST_F(SlotsTest, WhatThrowsInTheStoreFailsThatVariantOnly) {
  int writes = 0;
  WatchedStore blobs(folder_, [&]() -> absl::Status {
    if (++writes == 1) throw std::bad_alloc();
    return absl::OkStatus();
  });
  const v1::Outcome outcome = RenderInto(blobs);
  ASSERT_EQ(outcome.failed_size(), 1);
  EXPECT_EQ(outcome.failed(0).index(), 0u);
}

// Not the variants' fault: none has failed, all go back, and the worker is to leave.
TEST_F(SlotsTest, AStoreThatCannotBeWrittenIsTheWorkersTrouble) {
  WatchedStore blobs(folder_, [] { return absl::UnavailableError("disk gone"); });
  const v1::Outcome outcome = RenderInto(blobs);
  EXPECT_TRUE(outcome.released());
  EXPECT_EQ(outcome.failed_size(), 0);
  EXPECT_EQ(outcome.committed_size(), 0);
  EXPECT_TRUE(absl::IsUnavailable(trouble_)) << trouble_;
}

TEST_F(SlotsTest, ADeviceTooSmallForAllSlotsMeansFewer) {
  const auto one_fits = [](int alive) {
    return alive > 1 ? absl::ResourceExhaustedError("the card's memory is full") : absl::OkStatus();
  };
  renderers_.fails = one_fits;
  WatchedStore blobs(folder_, [] { return absl::OkStatus(); });
  Slots slots(3, renderers_, queue_, blobs, metrics_, "w");
  v1::Outcome all;
  uint64_t token = 1;
  const auto take = [&] {
    bool something = false;
    const v1::Turn turn = queue_.NextTurn(++turn_, 10, something);
    uint64_t count = 0;
    for (const v1::Outcome& outcome : turn.outcomes()) {
      all.MergeFrom(outcome);
      // What is given back is leased again, as a scheduler would.
      if (!outcome.released()) continue;
      EXPECT_TRUE(queue_.Add(TestLease(++token, 0, kVariants)).ok());
    }
    for (const v1::VariantRange& range : all.committed()) count += range.count();
    return count >= kVariants && renderers_.alive == 1;
  };
  EXPECT_TRUE(tests::WaitFor(take, kPatienceMs));
  EXPECT_EQ(all.failed_size(), 0);
  EXPECT_TRUE(slots.trouble().ok()) << slots.trouble();
  queue_.Close();
}

TEST_F(SlotsTest, TheLastSlotThatFindsTheDeviceTooSmallFailsTheVariant) {
  renderers_.fails = [](int) { return absl::ResourceExhaustedError("the card's memory is full"); };
  WatchedStore blobs(folder_, [] { return absl::OkStatus(); });
  const v1::Outcome outcome = RenderInto(blobs);
  EXPECT_EQ(outcome.failed_size(), kVariants);
  EXPECT_THAT(outcome.failed(0).reason(), HasSubstr("memory is full"));
  EXPECT_TRUE(trouble_.ok()) << trouble_;
}

// A render of five steps: what is asked before its fourth is told to stop.
TEST_F(SlotsTest, WhatADrainStopsIsGoneOnFrom) {
  constexpr int kSteps = 5, kStopsBefore = 3;
  int made = 0;
  renderers_.denoises = [&](const plan::Variant&, Stops& stops) -> absl::Status {
    if (!stops.earlier.empty()) stops.steps_resumed = static_cast<int>(stops.earlier[0].step());
    for (int step = stops.steps_resumed; step < kSteps; ++step, ++made) {
      if (step == kStopsBefore && stops.earlier.empty()) queue_.Close();
      if (stops.keep_going()) continue;
      stops.stopped.emplace().set_step(static_cast<uint32_t>(step));
      return absl::CancelledError("stopped");
    }
    return absl::OkStatus();
  };
  WatchedStore blobs(folder_, [] { return absl::OkStatus(); });
  const v1::Outcome outcome = RenderInto(blobs);
  EXPECT_TRUE(outcome.released());
  EXPECT_EQ(outcome.committed_size() + outcome.failed_size(), 0);
  EXPECT_TRUE(trouble_.ok()) << trouble_;
  EXPECT_EQ(made, kStopsBefore);
  EXPECT_THAT(*blobs.List("jobs/j/stopped/"), ::testing::ElementsAre("jobs/j/stopped/0-3-1.binpb"));

  LeaseQueue next;
  ASSERT_TRUE(next.Add(TestLease(2, 0, 1)).ok());
  Slots slots(1, renderers_, next, blobs, metrics_, "w2");
  bool something = false;
  v1::Turn turn;
  const auto committed = [&] {
    turn = next.NextTurn(1, 10, something);
    return turn.outcomes_size() > 0;
  };
  EXPECT_TRUE(tests::WaitFor(committed, kPatienceMs));
  EXPECT_EQ(turn.outcomes(0).committed_size(), 1);
  EXPECT_EQ(made, kSteps);
  EXPECT_TRUE(blobs.List("jobs/j/stopped/")->empty()) << "the picture is there";
  next.Close();
}

// Of a cancelled job nobody would go on with it, nor would anything take it away.
TEST_F(SlotsTest, WhatStopsWithoutItsLeaseIsNotKept) {
  renderers_.denoises = [&](const plan::Variant&, Stops& stops) -> absl::Status {
    queue_.Drop(1);
    queue_.Close();
    stops.stopped.emplace().set_step(3);
    return stops.keep_going() ? absl::OkStatus() : absl::CancelledError("stopped");
  };
  WatchedStore blobs(folder_, [] { return absl::OkStatus(); });
  {
    Slots slots(1, renderers_, queue_, blobs, metrics_, "w");
    EXPECT_TRUE(tests::WaitFor([&] { return queue_.Closed(); }, kPatienceMs));
  }
  EXPECT_TRUE(blobs.List("jobs/")->empty());
}

TEST_F(SlotsTest, ADeviceThatFailedIsTheWorkersTrouble) {
  renderers_.fails = [](int) { return absl::AbortedError("the card failed"); };
  WatchedStore blobs(folder_, [] { return absl::OkStatus(); });
  const v1::Outcome outcome = RenderInto(blobs);
  EXPECT_EQ(outcome.failed_size(), 1);
  EXPECT_THAT(outcome.failed(0).reason(), HasSubstr("the card failed"));
  EXPECT_TRUE(outcome.released());
  EXPECT_TRUE(absl::IsAborted(trouble_)) << trouble_;
}

}  // namespace
}  // namespace tiltshift::worker
