// Which worker gets which job, and which gets nothing: placement, benching, bytes stored.
#include "scheduler/placement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "plan/model_variant.h"
#include "scheduler/farm.h"

namespace tiltshift::scheduler {
namespace {

using ::testing::HasSubstr;

v1::Hello Worker(const std::string& id, const std::vector<std::string>& models,
                 const std::string& render_class = "cpu/a") {
  v1::Hello hello;
  hello.set_worker_id(id);
  hello.set_slots(1);
  hello.set_device_kind("cpu");
  hello.set_memory_mb(8'000);
  for (const std::string& model : models) {
    v1::ModelInfo& info = *hello.add_models();
    info.set_name(model);
    info.set_render_class(render_class);
    info.set_memory_mb(500);
  }
  return hello;
}

v1::JobSpec Spec(const std::string& model) {
  v1::JobSpec spec;
  spec.set_model(model);
  spec.set_tenant("t");
  return spec;
}

class PlacementTest : public ::testing::Test {
 protected:
  void Connect(const v1::Hello& hello) {
    Batch batch;
    farm_.Connect(hello, now_ms_, batch);
  }
  void HasLoaded(const std::string& worker, const std::string& model) {
    v1::Heartbeat heartbeat;
    heartbeat.add_loaded_models(model);
    for (const auto& lease : held_[worker]) heartbeat.add_held_tokens(lease.token());
    farm_.Heartbeat(worker, heartbeat, now_ms_);
  }
  // What `worker` is given when it wants one lease more; a lease without a token: nothing.
  v1::Lease Ask(const std::string& worker, const std::vector<v1::Outcome>& outcomes = {}) {
    v1::Turn turn;
    turn.set_want_leases(1);
    for (const auto& outcome : outcomes) *turn.add_outcomes() = outcome;
    Batch batch;
    std::vector<Outgoing> messages;
    stale_ = farm_.TakeOutcomes(worker, turn, now_ms_, batch);
    farm_.Assign(now_ms_, batch, messages);
    for (const auto& [job, turns] : batch.jobs) {
      for (const auto& outcome : turns.outcomes) {
        for (const auto& range : outcome.committed) committed_[job] += range.count();
        for (const auto& failure : outcome.failed) failed_[job] += failure.is_final;
      }
      farm_.ApplyTotals(job, committed_[job], failed_[job], now_ms_);
    }
    for (const auto& [job, render_class] : batch.bound) bound_[job] = render_class;
    v1::Lease lease;
    for (const auto& message : messages) {
      if (message.worker_id == worker && message.message.has_lease())
        lease = message.message.lease();
    }
    if (lease.token() != 0) held_[worker] = {lease};
    return lease;
  }
  // Everything of the lease rendered, or failed.
  v1::Outcome Done(const v1::Lease& lease) {
    v1::Outcome outcome;
    outcome.set_token(lease.token());
    outcome.set_job_id(lease.job_id());
    *outcome.add_committed() = lease.range();
    outcome.set_render_seconds(0.001 * static_cast<double>(lease.range().count()));
    outcome.set_stored_bytes(1'000'000 * lease.range().count());
    return outcome;
  }
  v1::Outcome Failed(const v1::Lease& lease) {
    v1::Outcome outcome;
    outcome.set_token(lease.token());
    outcome.set_job_id(lease.job_id());
    for (uint64_t i = 0; i < lease.range().count(); ++i) {
      v1::FailedVariant& failed = *outcome.add_failed();
      failed.set_index(lease.range().first() + i);
      failed.set_reason("no such tensor");
    }
    return outcome;
  }

  FarmOptions options_;
  Farm farm_{options_, 1};
  int64_t now_ms_ = 1'000;
  std::vector<uint64_t> stale_;
  std::map<std::string, std::string> bound_;
  std::map<std::string, uint64_t> committed_, failed_;
  std::map<std::string, std::vector<v1::Lease>> held_;
};

TEST_F(PlacementTest, AWorkerGetsOnlyWhatItCanRender) {
  v1::JobSpec on_gpu = Spec("sd"), large = Spec("sd");
  on_gpu.mutable_requirements()->set_device("cuda");
  large.mutable_requirements()->set_memory_mb(12'000);
  EXPECT_EQ(WhyNot(Spec("sd"), "", Worker("w", {"sd"})), "");
  EXPECT_EQ(WhyNot(Spec("sd"), "", Worker("w", {"*"})), "");
  EXPECT_EQ(WhyNot(Spec("sd"), "", v1::Hello()), "");
  EXPECT_EQ(WhyNot(Spec("sd"), "", Worker("w", {"other"})), "has no model \"sd\"");
  EXPECT_EQ(WhyNot(on_gpu, "", Worker("w", {"sd"})), "renders on cpu, and the job wants cuda");
  EXPECT_EQ(WhyNot(large, "", Worker("w", {"sd"})), "has 8000 MB, and the job needs 12000");
  v1::Hello damaged = Worker("w", {"sd"});
  damaged.mutable_models(0)->set_problem("sd/unet: tensor \"conv_in.bias\": element 0 is NaN");
  EXPECT_EQ(WhyNot(Spec("sd"), "", damaged),
            "can't render it: model: sd can't be loaded: "
            "sd/unet: tensor \"conv_in.bias\": element 0 is NaN");
  v1::Hello small = Worker("w", {"sd"});
  small.set_memory_mb(400);
  EXPECT_EQ(WhyNot(Spec("sd"), "", small), "has 400 MB, and the job needs 500");
  v1::Hello beside = Worker("w", {"sd"});
  beside.set_memory_mb(1'000);
  beside.add_controls()->set_name("canny");
  beside.mutable_controls(0)->set_memory_mb(700);
  v1::JobSpec controlled = Spec("sd");
  controlled.add_controls()->set_name("canny");
  EXPECT_EQ(WhyNot(controlled, "", beside), "has 1000 MB, and the job needs 1200");

  farm_.AddJob("j", Spec("sd"), 10, now_ms_);
  Connect(Worker("other", {"flux"}));
  EXPECT_EQ(Ask("other").token(), 0u);
  EXPECT_THAT(*farm_.ExplainJob("j", now_ms_),
              HasSubstr("No worker can take it: 1 worker has no model \"sd\"."));
  Connect(Worker("w", {"sd"}));
  EXPECT_EQ(Ask("w").job_id(), "j");
}

TEST_F(PlacementTest, WhatNoWorkersModelCanDoIsRefusedAtOnce) {
  v1::Hello worker = Worker("w", {"sd", "edits", "damaged", "fills"});
  worker.mutable_models(3)->set_needs("a photo and a mask");
  worker.mutable_models(2)->set_problem("no tensor");
  worker.mutable_models(0)->set_size_multiple(16);
  worker.mutable_models(0)->set_names_no_sampler(true);
  worker.mutable_models(1)->set_needs("a photo");
  v1::BesideInfo& lora = *worker.add_loras();
  lora.set_name("toy");
  lora.add_misfits("sd");
  Connect(worker);

  const auto refusal = [&](const v1::JobSpec& spec) { return Message(farm_.MayAdd(spec)); };
  EXPECT_EQ(refusal(Spec("nobody knows it")), "");
  EXPECT_EQ(refusal(Spec("damaged")), "model: damaged can't be loaded: no tensor");
  EXPECT_THAT(refusal(Spec("edits")),
              HasSubstr("model: edits makes pictures of a photo and a prompt"));
  v1::JobSpec with_photo = Spec("edits");
  with_photo.set_photo("p1");
  EXPECT_EQ(refusal(with_photo), "");
  with_photo.set_model("sd");
  with_photo.mutable_render()->set_sampler(v1::SAMPLER_DDIM);
  with_photo.mutable_render()->set_steps(10);
  with_photo.mutable_render()->set_strength(0.09);
  EXPECT_THAT(refusal(with_photo), HasSubstr("render.strength: 0.09 leaves none of 10 steps"));
  with_photo.mutable_render()->set_strength(0.1);
  EXPECT_EQ(refusal(with_photo), "");
  v1::JobSpec contest = Spec("edits");
  v1::EntryColumn& column = *contest.mutable_contest()->add_columns();
  column.set_name("photo");
  EXPECT_EQ(refusal(contest), "");
  column.set_first_empty(5);
  EXPECT_THAT(refusal(contest), HasSubstr("entries[4]: column photo: is empty"));
  v1::JobSpec inpainting = Spec("fills");
  EXPECT_THAT(refusal(inpainting), HasSubstr("makes pictures of a photo and a mask and a prompt"));
  inpainting.set_photo("p1");
  EXPECT_THAT(refusal(inpainting), HasSubstr("this job has no mask"));
  inpainting.set_mask("p2");
  inpainting.mutable_render()->set_steps(10);
  inpainting.mutable_render()->set_strength(1);
  EXPECT_EQ(refusal(inpainting), "");
  inpainting.set_model("edits");
  EXPECT_THAT(refusal(inpainting), HasSubstr("it takes no mask"));
  inpainting.set_model("sd");
  inpainting.mutable_render()->set_sampler(v1::SAMPLER_DDIM);
  EXPECT_EQ(refusal(inpainting), "");
  v1::JobSpec spec = Spec("sd");
  spec.mutable_render()->set_width(72);
  spec.mutable_render()->set_height(64);
  EXPECT_THAT(refusal(spec),
              HasSubstr("render.width: 72 is not a multiple of 16, as model sd renders"));
  spec.mutable_render()->set_width(64);
  EXPECT_THAT(refusal(spec), HasSubstr("render.sampler: is missing"));
  spec.mutable_render()->set_sampler(v1::SAMPLER_DDIM);
  EXPECT_EQ(refusal(spec), "");
  spec.add_loras()->set_name("toy");
  EXPECT_THAT(refusal(spec), HasSubstr("loras[0].name: toy does not fit model sd"));
  EXPECT_THAT(WhyNot(spec, "", worker),
              HasSubstr("can't render it: loras[0].name: toy does not fit"));

  v1::Hello other = Worker("other", {"sd"});  // with another file of that name
  other.add_loras()->set_name("toy");
  Connect(other);
  EXPECT_EQ(refusal(spec), "");
}

TEST_F(PlacementTest, AJobsLorasAreAskedForAndBindAStrictOne) {
  const auto with = [](v1::Hello hello, const std::string& name, const std::string& hash) {
    v1::BesideInfo& lora = *hello.add_loras();
    lora.set_name(name);
    lora.set_hash(hash);
    return hello;
  };
  v1::JobSpec spec = Spec("sd");
  spec.add_loras()->set_name("toy");
  EXPECT_EQ(WhyNot(spec, "", Worker("w", {"sd"})), "has no LoRA \"toy\"");
  EXPECT_EQ(WhyNot(spec, "", with(Worker("w", {"sd"}), "other", "h")), "has no LoRA \"toy\"");
  EXPECT_EQ(WhyNot(spec, "", with(Worker("w", {"sd"}), "toy", "h")), "");
  EXPECT_EQ(WhyNot(spec, "", Worker("w", {"*"})), "");
  EXPECT_EQ(WhyNot(spec, "", v1::Hello()), "");
  v1::Hello small = with(Worker("w", {"sd"}), "toy", "h");
  small.set_memory_mb(900);
  EXPECT_EQ(WhyNot(spec, "", small), "has 900 MB, and the job needs 1000");

  spec.set_strict(true);
  farm_.AddJob("j", spec, 100, now_ms_);
  Connect(with(Worker("a", {"sd"}), "toy", "0123456789abcdef"));
  Connect(with(Worker("b", {"sd"}), "toy", "another file's"));
  EXPECT_EQ(Ask("a").job_id(), "j");
  EXPECT_EQ(bound_.at("j"), "cpu/a+0123456789ab");
  EXPECT_EQ(Ask("b").token(), 0u);
  Connect(with(Worker("c", {"sd"}), "toy", "0123456789abcdef"));
  EXPECT_EQ(Ask("c").job_id(), "j");
}

TEST_F(PlacementTest, AModelWithLorasInMemoryIsAnotherModel) {
  v1::JobSpec plain = Spec("sd"), toy = Spec("sd");
  toy.add_loras()->set_name("toy");
  toy.mutable_loras(0)->set_weight(1);
  farm_.AddJob("plain", plain, 100, now_ms_);
  farm_.AddJob("toy", toy, 100, now_ms_);
  v1::Hello hello = Worker("w", {"sd"});
  hello.add_loras()->set_name("toy");
  Connect(hello);
  HasLoaded("w", plan::ModelVariant(toy));
  EXPECT_EQ(Ask("w").job_id(), "toy");
}

// I4: one render class for all of a strict job, a restart and a worker without classes included.
TEST_F(PlacementTest, AStrictJobIsBoundToItsFirstRenderClass) {
  v1::JobSpec strict = Spec("sd");
  strict.set_strict(true);
  farm_.AddJob("j", strict, 100, now_ms_);
  Connect(v1::Hello(Worker("silent", {})));
  EXPECT_EQ(Ask("silent").token(), 0u);
  Connect(Worker("a", {"sd"}, "cpu/a"));
  Connect(Worker("b", {"sd"}, "cpu/b"));
  const v1::Lease lease = Ask("a");
  EXPECT_EQ(lease.job_id(), "j");
  EXPECT_EQ(bound_.at("j"), "cpu/a");
  EXPECT_EQ(Ask("b").token(), 0u);
  EXPECT_EQ(farm_.View("j", now_ms_, false)->render_class(), "cpu/a");

  store::StoredFarm stored;
  store::StoredJob& job = stored.jobs.emplace_back();
  job.id = "j";
  job.spec = strict;
  job.variants = 100;
  job.render_class = bound_.at("j");
  Farm next(options_, 2);
  next.Restore(stored, now_ms_);
  Batch batch;
  std::vector<Outgoing> messages;
  v1::Turn turn;
  turn.set_want_leases(1);
  for (const char* id : {"b", "a"}) {
    next.Connect(Worker(id, {"sd"}, absl::StrCat("cpu/", id)), now_ms_, batch);
    next.TakeOutcomes(id, turn, now_ms_, batch);
    next.Assign(now_ms_, batch, messages);
  }
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_EQ(messages[0].worker_id, "a");
  EXPECT_THAT(*next.ExplainJob("j", now_ms_), Not(HasSubstr("No worker can take it")));
}

// A model in memory is worth waiting for, but nobody waits for ever, and nobody idles for it.
TEST_F(PlacementTest, AWorkerIsGivenJobsWhoseModelItHas) {
  Connect(Worker("a", {"sd", "flux"}));
  farm_.AddJob("older", Spec("flux"), 1'000, now_ms_);
  farm_.AddJob("younger", Spec("sd"), 1'000, now_ms_);
  HasLoaded("a", "sd");
  v1::Lease lease = Ask("a");
  EXPECT_EQ(lease.job_id(), "younger");
  now_ms_ += 6'000;
  lease = Ask("a", {Done(lease)});
  EXPECT_EQ(lease.job_id(), "older");
  Connect(Worker("b", {"sd", "flux"}));
  HasLoaded("b", "something else");
  EXPECT_NE(Ask("b").token(), 0u);
}

TEST_F(PlacementTest, AWorkerThatFailsWhatOthersRenderIsBenched) {
  Connect(Worker("good", {"*"}));
  Connect(Worker("bad", {"*"}));
  farm_.AddJob("j", Spec("sd"), 2'000, now_ms_);
  v1::Lease good = Ask("good"), bad = Ask("bad");
  for (int round = 0; round < 200 && farm_.counts(0).benched == 0; ++round) {
    now_ms_ += 1'000;
    if (bad.token() != 0) bad = Ask("bad", {Failed(bad)});
    if (bad.token() == 0) bad = Ask("bad");
    good = good.token() != 0 ? Ask("good", {Done(good)}) : Ask("good");
  }
  EXPECT_EQ(farm_.View("j", now_ms_, false)->failed(), 0u);
  EXPECT_EQ(farm_.counts(0).benched, 1u);
  EXPECT_THAT(*farm_.ExplainWorker("bad", now_ms_), HasSubstr("is benched for another"));
  EXPECT_THAT(*farm_.ExplainWorker("bad", now_ms_), HasSubstr("no such tensor"));
  farm_.AddJob("k", Spec("sd"), 60, now_ms_);
  EXPECT_EQ(Ask("bad").token(), 0u);
  now_ms_ += 60'000;
  EXPECT_NE(Ask("bad").token(), 0u) << "a bench has an end";
}

// A job that nobody can render benches nobody, and other jobs go on.
TEST_F(PlacementTest, ABrokenJobHoldsUpItselfAlone) {
  Connect(Worker("a", {"*"}));
  Connect(Worker("b", {"*"}));
  farm_.AddJob("broken", Spec("sd"), 12, now_ms_);
  farm_.AddJob("good", Spec("sd"), 40, now_ms_);
  std::map<std::string, v1::Lease> leases;
  for (int round = 0; round < 600; ++round) {
    now_ms_ += 1'000;
    for (const char* id : {"a", "b"}) {
      v1::Lease& lease = leases[id];
      const bool fails = lease.job_id() == "broken";
      lease = lease.token() == 0 ? Ask(id) : Ask(id, {fails ? Failed(lease) : Done(lease)});
    }
  }
  EXPECT_EQ(farm_.View("good", now_ms_, false)->committed(), 40u);
  EXPECT_EQ(farm_.View("broken", now_ms_, false)->failed(), 12u);
  EXPECT_EQ(farm_.counts(0).benched, 0u);
}

// What a worker held of a job that it fails is given back, and it is told.
TEST_F(PlacementTest, ThreeFailuresInARowEndTheLease) {
  Connect(Worker("bad", {"*"}));
  farm_.AddJob("j", Spec("sd"), 100, now_ms_);
  v1::Lease lease = Ask("bad");
  lease = Ask("bad", {Done(lease)});
  ASSERT_GT(lease.range().count(), 3u);
  Connect(Worker("good", {"*"}));
  v1::Outcome failed = Failed(lease);
  failed.mutable_failed()->DeleteSubrange(3, failed.failed_size() - 3);
  EXPECT_EQ(Ask("bad", {failed}).token(), 0u);
  EXPECT_EQ(stale_, std::vector<uint64_t>{lease.token()});
  EXPECT_NE(Ask("good").token(), 0u);
}

TEST(StoredBytes, BoundATenant) {
  FarmOptions options;
  options.tenants["t"].stored = 5'000'000;
  Farm farm(options, 1);
  farm.AddJob("j", Spec("sd"), 100, 0);
  Batch batch;
  std::vector<Outgoing> messages;
  farm.Connect(Worker("w", {"*"}), 0, batch);
  v1::Turn turn;
  turn.set_want_leases(1);
  int renders = 0;
  for (int round = 0; round < 20; ++round) {
    messages.clear();
    farm.TakeOutcomes("w", turn, 0, batch);
    farm.Assign(0, batch, messages);
    turn.clear_outcomes();
    if (messages.empty()) continue;
    ++renders;
    v1::Outcome& outcome = *turn.add_outcomes();
    outcome.set_token(messages[0].message.lease().token());
    outcome.set_job_id("j");
    *outcome.add_committed() = messages[0].message.lease().range();
    outcome.set_stored_bytes(1'000'000);
  }
  EXPECT_EQ(renders, 5);
  EXPECT_EQ(farm.View("j", 0, false)->stored_bytes(), 5'000'000u);
  EXPECT_THAT(*farm.ExplainJob("j", 0), HasSubstr("has outputs of 5 MB, as much as it may"));
  EXPECT_EQ(farm.MayAdd(Spec("sd")).code(), absl::StatusCode::kResourceExhausted);
  v1::JobSpec other = Spec("sd");
  other.set_tenant("u");
  EXPECT_TRUE(farm.MayAdd(other).ok());
}

}  // namespace
}  // namespace tiltshift::scheduler
