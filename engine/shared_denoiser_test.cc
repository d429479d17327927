// Samples of several renderers in one batch: who is in which step of it, and the bits of each alone
// (I4).
#include "engine/shared_denoiser.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include "engine/philox.h"
#include "engine/testing/backend_case.h"
#include "engine/testing/parity_case.h"

namespace tiltshift::engine {
namespace {

constexpr LatentSize kSize = {8, 8};

// Each of another sampler, prompt, seed and guidance.
struct Subject {
  SamplerKind sampler;
  int steps;
  int joins;                // before which step of the first
  int stops = 1000;         // before which step
  DenoiseState state = {};  // where it stopped
};

class SharedDenoiserTest : public testing::CudaTest {
 protected:
  void SetUp() override {
    CudaTest::SetUp();
    if (IsSkipped()) return;
    const std::string folder = ::testing::TempDir() + "shared_denoiser";
    ASSERT_TRUE(WriteParityModel(TILTSHIFT_SOURCE_DIR, "small", folder).ok());
    auto model = Model::Load(folder, {.device = Device::kCuda});
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = *std::move(model);
    stays_ = std::make_unique<Pipeline>(model_);
  }
  SharedDenoiser::Counts Counts() const { return model_->impl().denoiser->counts(); }

  // In a pipeline of its own.
  absl::Status Denoise(size_t n, Subject& subject, const std::function<bool()>& keep_going,
                       std::vector<float>& latent,
                       const std::function<void(int step)>& after_step = nullptr) {
    Pipeline pipeline(model_);
    const auto sampler =
        MakeSampler(subject.sampler, model_->impl().config.noise, {.steps = subject.steps});
    EXPECT_TRUE(sampler.ok()) << sampler.status();
    const auto pair = pipeline.Encode(
        {.prompt = n % 2 == 0 ? "a blue cat" : "a red robot on a stone", .negative = "blurry"});
    EXPECT_TRUE(pair.ok()) << pair.status();
    if (subject.state.step == 0) {
      latent.resize(pipeline.LatentFloats(kSize));
      FillNormal(n, 0, latent);
      for (float& value : latent) value *= (*sampler)->initial_noise_sigma();
    }
    DenoiseOptions options = {.size = kSize,
                              .sampler = sampler->get(),
                              .prompt = pair->prompt,
                              .negative = pair->negative,
                              .guidance_scale = 3.0f + static_cast<float>(n),
                              .seed = n,
                              .state = &subject.state};
    if (after_step)
      options.after_step = [&](int step, std::span<const float>) { after_step(step); };
    return pipeline.Denoise(options, keep_going, latent);
  }

  std::shared_ptr<const Model> model_;
  std::unique_ptr<Pipeline> stays_;  // so that batches do
};

TEST_F(SharedDenoiserTest, I4WhoeverJoinsAndLeaves) {
  std::vector<Subject> subjects = {{SamplerKind::kDpmpp2m, 7, 0},
                                   {SamplerKind::kEulerAncestral, 2, 0},
                                   {SamplerKind::kDdim, 3, 1},
                                   {SamplerKind::kEuler, 2, 2, 1}};
  std::vector<std::vector<float>> alone(subjects.size()), together(subjects.size());
  for (size_t n = 0; n < subjects.size(); ++n) {
    Subject undisturbed = {subjects[n].sampler, subjects[n].steps};
    ASSERT_TRUE(Denoise(n, undisturbed, nullptr, alone[n]).ok());
  }
  const SharedDenoiser::Counts before = Counts();
  EXPECT_EQ(before.steps, 14);
  EXPECT_EQ(before.sample_steps, 14);
  EXPECT_EQ(before.places, 14);

  std::mutex mutex;
  std::condition_variable changed;
  std::set<size_t> joined, ended;
  std::vector<std::thread> threads;
  const auto run = [&](size_t n) {
    int step = 0;
    const auto keep_going = [&] {
      std::unique_lock lock(mutex);
      joined.insert(n);
      changed.notify_all();
      return step++ < subjects[n].stops;
    };
    const absl::Status status = Denoise(n, subjects[n], keep_going, together[n]);
    EXPECT_EQ(absl::IsCancelled(status), subjects[n].stops < subjects[n].steps) << status;
    std::unique_lock lock(mutex);
    ended.insert(n);
    changed.notify_all();
  };
  int step = 0;
  const auto bring_others = [&] {
    for (size_t n = 1; n < subjects.size(); ++n) {
      std::unique_lock lock(mutex);
      if (subjects[n].joins + subjects[n].steps <= step) {
        changed.wait(lock, [&] { return ended.contains(n); });
      } else if (subjects[n].joins == step) {
        threads.emplace_back(run, n);
        changed.wait(lock, [&] { return joined.contains(n); });
      }
    }
    ++step;
    return true;
  };
  ASSERT_TRUE(Denoise(0, subjects[0], bring_others, together[0]).ok());
  for (std::thread& thread : threads) thread.join();

  // Samples in its steps: 0 1, 0 1 2, 0 2 3, 0 2, then 0 alone, which has one place from the third
  // of those on.
  const SharedDenoiser::Counts counts = Counts();
  EXPECT_EQ(counts.steps - before.steps, 7);
  EXPECT_EQ(counts.sample_steps - before.sample_steps, 2 + 3 + 3 + 2 + 3);
  EXPECT_EQ(counts.places - before.places, 2 + 3 + 3 + 3 + 3 + 3 + 1);
  EXPECT_EQ(subjects[3].state.step, 1);
  ASSERT_TRUE(Denoise(3, subjects[3], nullptr, together[3]).ok());
  for (size_t n = 0; n < subjects.size(); ++n) EXPECT_EQ(together[n], alone[n]) << n;
  SharedDenoiser& denoiser = *model_->impl().denoiser;
  EXPECT_TRUE(denoiser.DropSpare());
  EXPECT_FALSE(denoiser.DropSpare());
}

// One that has made its last step, and whose thread has not read it yet, has the only place.
TEST_F(SharedDenoiserTest, I4ANewcomerMovesNoSampleThatHasEnded) {
  const Subject slow = {SamplerKind::kDpmpp2m, 2}, newcomer = {SamplerKind::kEuler, 3};
  std::vector<std::vector<float>> alone(2), together(2);
  Subject first = slow, second = newcomer;
  ASSERT_TRUE(Denoise(0, first, nullptr, alone[0]).ok());
  ASSERT_TRUE(Denoise(1, second, nullptr, alone[1]).ok());

  first = slow, second = newcomer;
  absl::Status status = absl::UnknownError("never came");
  const auto after_step = [&](int step) {
    if (step + 1 < slow.steps) return;
    std::thread([&] { status = Denoise(1, second, nullptr, together[1]); }).join();
  };
  ASSERT_TRUE(Denoise(0, first, nullptr, together[0], after_step).ok());
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(together, alone);
}

}  // namespace
}  // namespace tiltshift::engine
