// Which models with LoRAs are one, and which stay in memory.
#include "worker/model_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "base/file.h"
#include "engine/testing/tensor_file.h"
#include "plan/model_variant.h"
#include "tests/support/process.h"
#include "worker/variant_renderer.h"

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

// What a worker says of its folder: a model that is damaged is named, with what is wrong, and the
// others are rendered.
TEST_F(ModelCacheTest, ADamagedModelIsSaidToBe) {
  const std::string weights = "/unet/diffusion_pytorch_model.safetensors";
  fs::copy(fs::canonical(folder_ + "/diorama"), folder_ + "/nan", fs::copy_options::recursive);
  fs::copy(folder_ + "/nan", folder_ + "/short", fs::copy_options::recursive);
  auto bytes = ReadFile(folder_ + "/nan" + weights);
  ASSERT_TRUE(bytes.ok());
  std::string renamed = *bytes;
  renamed.replace(renamed.find("\"conv_in.bias\""), 14, "\"conv_xx.bias\"");
  ASSERT_TRUE(WriteFileAtomic(folder_ + "/short" + weights, renamed, IfPresent::kReplace).ok());
  bytes->replace(bytes->size() - 2, 2,
                 std::string("\x00\x7e", 2));  // the last number of an F16 tensor
  ASSERT_TRUE(WriteFileAtomic(folder_ + "/nan" + weights, *bytes, IfPresent::kReplace).ok());

  const auto models = MakeEngineRenderers({folder_})->Models();
  ASSERT_TRUE(models.ok()) << models.status();
  std::map<std::string, std::string> problems;
  for (const v1::ModelInfo& model : *models) {
    problems[model.name()] = model.problem();
    EXPECT_EQ(model.problem().empty(), !model.hash().empty()) << model.name();
  }
  EXPECT_EQ(problems.size(), 3u);
  EXPECT_EQ(problems["diorama"], "");
  EXPECT_THAT(problems["nan"], HasSubstr("nan/unet: tensor \""));
  EXPECT_THAT(problems["nan"], HasSubstr("is NaN or infinite"));
  EXPECT_EQ(problems["short"],
            folder_ +
                "/short/unet: the weights have no tensor \"conv_in.bias\", which config.json "
                "asks for");

  fs::remove(folder_ + "/diorama");
  EXPECT_EQ(MakeEngineRenderers({folder_})->Models().status().code(), absl::StatusCode::kNotFound);
}

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
