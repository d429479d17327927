// Which models with LoRAs are one, and which stay in memory.
#include "worker/model_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "engine/testing/tensor_file.h"
#include "plan/model_variant.h"
#include "tests/support/process.h"

namespace tiltshift::worker {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

class ModelCacheTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = tests::FreshFolder();
    fs::create_directory_symlink(std::string(TILTSHIFT_SOURCE_DIR) + "/models/diorama",
                                 folder_ + "/diorama");
    for (const char* name : {"a", "b"}) {
      engine::TensorFile file;
      file.AddFloats("unet.conv_in.lora_A.weight", {1, 4, 3, 3}, std::vector<float>(36, 0.01f));
      file.AddFloats("unet.conv_in.lora_B.weight", {64, 1, 1, 1},
                     std::vector<float>(64, name[0] == 'a' ? 0.1f : 0.2f));
      const std::string path = absl::StrCat(folder_, "/loras/", name, ".safetensors");
      ASSERT_TRUE(WriteFileAtomic(path, file.Bytes(), IfPresent::kReplace).ok());
    }
    cache_ = std::make_unique<ModelCache>(EngineOptions{folder_});
  }
  void TearDown() override { fs::remove_all(folder_); }

  static v1::JobSpec Spec(const std::vector<std::pair<std::string, double>>& loras) {
    v1::JobSpec spec;
    spec.set_model("diorama");
    for (const auto& [name, weight] : loras) {
      spec.add_loras()->set_name(name);
      spec.mutable_loras(spec.loras_size() - 1)->set_weight(weight);
    }
    return spec;
  }
  std::shared_ptr<const engine::Model> Get(const v1::JobSpec& spec) {
    const auto model = cache_->Get(spec);
    EXPECT_TRUE(model.ok()) << model.status();
    return model.ok() ? *model : nullptr;
  }

  std::string folder_;
  std::unique_ptr<ModelCache> cache_;
};

TEST_F(ModelCacheTest, ASetIsOneModel) {
  const auto plain = Get(Spec({})), set = Get(Spec({{"a", 1}, {"b", 0.5}}));
  EXPECT_EQ(Get(Spec({})), plain);
  EXPECT_EQ(Get(Spec({{"b", 0.5}, {"a", 1}})), set);
  EXPECT_NE(set->render_class(), plain->render_class());
  EXPECT_NE(Get(Spec({{"a", 1}, {"b", 0.6}}))->render_class(), set->render_class());
  EXPECT_THAT(cache_->Loaded(), Contains("diorama"));
  EXPECT_THAT(cache_->Loaded(), Contains(plan::ModelVariant(Spec({{"a", 1}, {"b", 0.5}}))));
}

TEST_F(ModelCacheTest, SetsThatNobodyUsesGoAndTheModelItselfStays) {
  const std::weak_ptr<const engine::Model> plain = Get(Spec({}));
  const auto used = Get(Spec({{"a", 1}}));
  const std::weak_ptr<const engine::Model> second = Get(Spec({{"a", 2}}));
  Get(Spec({{"a", 3}}));
  Get(Spec({{"a", 4}}));
  EXPECT_TRUE(second.expired());
  EXPECT_FALSE(plain.expired());
  EXPECT_THAT(cache_->Loaded(), Not(Contains(plan::ModelVariant(Spec({{"a", 2}})))));
  EXPECT_EQ(Get(Spec({{"a", 1}})), used);
}

TEST_F(ModelCacheTest, WhatCannotBeLoadedIsNamed) {
  EXPECT_THAT(Message(cache_->Get(Spec({{"c", 1}})).status()),
              HasSubstr("lora: there is no c in " + folder_ + "/loras; known are: a, b"));
  v1::JobSpec other = Spec({});
  other.set_model("gone");
  EXPECT_THAT(Message(cache_->Get(other).status()), HasSubstr("model gone: no model directory"));
  EXPECT_THAT(cache_->Loaded(), Not(Contains("gone")));
}

}  // namespace
}  // namespace tiltshift::worker
