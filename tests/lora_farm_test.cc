// LoRAs through a whole farm: `tiltshift render` with the built-in model and small LoRAs made here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <sstream>

#include "base/file.h"
#include "base/hash.h"
#include "engine/testing/tensor_file.h"
#include "tests/support/folder_test.h"
#include "tests/support/process.h"

namespace tiltshift {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using tests::Process;
using tests::Program;

constexpr int kLongMs = 180'000;
constexpr int kChannels = 64, kRank = 2;  // of the built-in UNet's first level

class LoraFarmTest : public tests::FolderTest {
 protected:
  void SetUp() override {
    models_ = folder_ + "/models";
    fs::create_directories(models_ + "/loras");
    fs::create_directory_symlink(std::string(TILTSHIFT_SOURCE_DIR) + "/models/diorama",
                                 models_ + "/diorama");
    PutLora("toy", 1);
    PutLora("soft", 2);
  }

  // Of conv_in, in kohya's words.
  void PutLora(const std::string& name, uint32_t seed) {
    std::mt19937 random(seed);
    const auto numbers = [&](int count) {
      std::vector<float> values(count);
      for (float& value : values) value = static_cast<float>(random() % 255) / 1024.0f - 0.124f;
      return values;
    };
    engine::TensorFile file;
    file.AddFloats("lora_unet_conv_in.lora_down.weight", {kRank, 4, 3, 3}, numbers(kRank * 36));
    file.AddFloats("lora_unet_conv_in.lora_up.weight", {kChannels, kRank, 1, 1},
                   numbers(kChannels * kRank));
    Put(name, file.Bytes());
  }
  void Put(const std::string& name, const std::string& bytes) {
    ASSERT_TRUE(WriteFileAtomic(absl::StrCat(models_, "/loras/", name, ".safetensors"), bytes,
                                IfPresent::kReplace)
                    .ok());
  }

  struct Result {
    int code;
    std::string errors;
    std::vector<std::string> hashes;  // of the pictures, by index
    std::set<std::string> render_classes;
  };
  Result Render(const std::string& out, const std::string& loras) {
    const std::string spec = absl::StrCat(folder_, "/", out, ".yaml");
    EXPECT_TRUE(
        WriteFileAtomic(spec,
                        absl::StrCat("name: n\nmodel: diorama\nprompt: a red {thing}\n", loras,
                                     "\naxes: {thing: [cat, robot, house]}\n"
                                     "render: {width: 64, height: 64, steps: 3}\n"),
                        IfPresent::kReplace)
            .ok());
    Process process({Program("tiltshift"), "render", spec, "--out", folder_ + "/" + out, "--models",
                     models_, "--no-sheet", "--json"},
                    folder_);
    Result result;
    result.code = process.Wait(kLongMs);
    result.errors = process.Output() + process.Errors();
    const auto manifest = ReadFile(absl::StrCat(folder_, "/", out, "/manifest.jsonl"));
    std::istringstream lines(manifest.ok() ? *manifest : "");
    for (std::string line; std::getline(lines, line);) {
      const auto variant = nlohmann::json::parse(line);
      result.hashes.push_back(variant["sha256"]);
      result.render_classes.insert(variant["render_class"]);
    }
    return result;
  }

  std::string models_;
};

TEST_F(LoraFarmTest, ASetIsAModelOfItsOwnWithTheSameBitsEveryTime) {
  const Result plain = Render("plain", "");
  ASSERT_EQ(plain.code, 0) << plain.errors;
  const Result once =
      Render("once", "loras: [{name: toy, weight: 0.8}, {name: soft, weight: -0.5}]");
  ASSERT_EQ(once.code, 0) << once.errors;
  const Result again =
      Render("again",
             "loras: [{name: soft, weight: -0.5}, {name: toy, weight: 0.8}]\nreproducible: strict");
  ASSERT_EQ(again.code, 0) << again.errors;
  const Result lighter =
      Render("lighter", "loras: [{name: toy, weight: 0.7}, {name: soft, weight: -0.5}]");
  ASSERT_EQ(lighter.code, 0) << lighter.errors;

  ASSERT_EQ(plain.hashes.size(), 3u);
  ASSERT_EQ(once.hashes.size(), 3u);
  EXPECT_EQ(once.hashes, again.hashes);
  EXPECT_EQ(once.render_classes, again.render_classes);
  EXPECT_EQ(once.render_classes.size(), 1u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_NE(once.hashes[i], plain.hashes[i]);
    EXPECT_NE(once.hashes[i], lighter.hashes[i]);
  }
  EXPECT_NE(once.render_classes, plain.render_classes);
  EXPECT_NE(once.render_classes, lighter.render_classes);
}

TEST_F(LoraFarmTest, WhatIsWrongIsSaid) {
  const Result unknown = Render("unknown", "loras: [{name: toys}]");
  EXPECT_EQ(unknown.code, 2);
  EXPECT_THAT(unknown.errors,
              HasSubstr("lora: there is no toys in " + models_ + "/loras; known are: soft, toy"));

  engine::TensorFile other;
  other.AddFloats("lora_unet_conv_in.lora_down.weight", {1, 4, 3, 3}, std::vector<float>(36, 1.0f));
  other.AddFloats("lora_unet_conv_in.lora_up.weight", {320, 1, 1, 1},
                  std::vector<float>(320, 1.0f));
  Put("other", other.Bytes());
  const Result foreign = Render("foreign", "loras: [{name: other}]");
  EXPECT_EQ(foreign.code, 2) << foreign.errors;
  EXPECT_THAT(foreign.errors, HasSubstr("loras[0].name: other does not fit model diorama"));

  Put("damaged", other.Bytes().substr(0, 300));
  const Result damaged = Render("damaged", "loras: [{name: damaged}]");
  EXPECT_EQ(damaged.code, 2) << damaged.errors;
  EXPECT_THAT(damaged.errors, HasSubstr("loras[0].name: damaged can't be read: "));
  EXPECT_THAT(damaged.errors, HasSubstr("damaged.safetensors"));
}

}  // namespace
}  // namespace tiltshift
