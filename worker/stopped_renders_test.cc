#include "worker/stopped_renders.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/support/process.h"

namespace tiltshift::worker {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

v1::StoppedRender Before(uint32_t step) {
  v1::StoppedRender stopped;
  stopped.set_render_class("test");
  stopped.set_step(step);
  stopped.set_steps(20);
  stopped.add_latent(0.25f * static_cast<float>(step));
  stopped.add_history(-1);
  return stopped;
}

class StoppedRendersTest : public ::testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove_all(folder_); }
  static Work Variant(uint64_t index, uint64_t token) {
    return {.token = token, .job_id = "j", .index = index};
  }
  std::vector<std::string> Keys() { return *blobs_->List("jobs/j/stopped/"); }
  std::vector<uint32_t> StepsOf(StoppedRenders& stopped, const Work& work) {
    std::vector<uint32_t> steps;
    for (const v1::StoppedRender& one : stopped.Of(work)) {
      EXPECT_EQ(one.SerializeAsString(), Before(one.step()).SerializeAsString());
      steps.push_back(one.step());
    }
    return steps;
  }

  const std::string folder_ = tests::FreshFolder();
  const std::unique_ptr<store::BlobStore> blobs_ = *store::OpenFileBlobStore(folder_);
};

TEST_F(StoppedRendersTest, TheNextLeaseFindsThemTheFurthestFirst) {
  StoppedRenders first(*blobs_), next(*blobs_);
  EXPECT_THAT(StepsOf(first, Variant(3, 1)), IsEmpty());
  ASSERT_TRUE(first.Keep(Variant(3, 1), Before(4)).ok());
  ASSERT_TRUE(first.Keep(Variant(3, 2), Before(11)).ok());
  ASSERT_TRUE(first.Keep(Variant(30, 1), Before(7)).ok());
  EXPECT_THAT(StepsOf(next, Variant(3, 5)), ElementsAre(11, 4));
  EXPECT_THAT(StepsOf(next, Variant(30, 5)), ElementsAre(7));
  EXPECT_THAT(StepsOf(next, Variant(0, 5)), IsEmpty());
  EXPECT_THAT(StepsOf(first, Variant(3, 6)), ElementsAre(11, 4)) << "a later lease looks again";
  next.Drop(Variant(3, 5));
  EXPECT_THAT(Keys(), ElementsAre("jobs/j/stopped/30-7-1.binpb"));
}

TEST_F(StoppedRendersTest, DamagedOnesAreLeftOutAndGoWithTheOthers) {
  StoppedRenders stopped(*blobs_);
  const std::string whole = BytesOf(Before(9));
  std::string flipped = whole;
  flipped.back() ^= 1;
  ASSERT_TRUE(blobs_->PutIfAbsent("jobs/j/stopped/0-9-1.binpb", flipped).ok());
  ASSERT_TRUE(blobs_->PutIfAbsent("jobs/j/stopped/0-8-1.binpb", whole.substr(0, 70)).ok());
  ASSERT_TRUE(blobs_->PutIfAbsent("jobs/j/stopped/0-7-1.binpb", "").ok());
  ASSERT_TRUE(blobs_->PutIfAbsent("jobs/j/stopped/none", whole).ok());
  ASSERT_TRUE(stopped.Keep(Variant(0, 1), Before(5)).ok());
  EXPECT_THAT(StepsOf(stopped, Variant(0, 2)), ElementsAre(5));
  stopped.Drop(Variant(0, 2));
  EXPECT_THAT(Keys(), ElementsAre("jobs/j/stopped/none"));
}

}  // namespace
}  // namespace tiltshift::worker
