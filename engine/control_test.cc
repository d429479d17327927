// ControlNets beside a model: what fits, what is refused, and the same bits. What they compute is
// compared with diffusers in family_parity_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <barrier>
#include <cmath>
#include <filesystem>
#include <thread>

#include "base/file.h"
#include "engine/cpu/isa.h"
#include "engine/describe.h"
#include "engine/renderer.h"
#include "engine/safetensors.h"
#include "engine/testing/parity_case.h"
#include "engine/testing/parity_photo.h"

namespace tiltshift::engine {
namespace {

using ::testing::HasSubstr;

class ControlTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    ASSERT_TRUE(WriteParityModel(TILTSHIFT_SOURCE_DIR, "small", Folder() + "model").ok());
    for (const char* part : {"control_small", "control_sdxl"})
      ASSERT_TRUE(WriteParityControl(TILTSHIFT_SOURCE_DIR, part, Folder() + part).ok());
  }
  static std::string Folder() { return ::testing::TempDir() + "control_test_"; }
  std::string Model() const { return folder_ + "model"; }
  std::string Small() const { return folder_ + "control_small"; }

  std::shared_ptr<const engine::Model> Load(const std::vector<ControlUse>& controls,
                                            Precision precision = Precision::kFp32) {
    auto model = Model::Load(Model(), {.precision = precision, .controls = controls});
    EXPECT_TRUE(model.ok()) << model.status();
    return model.ok() ? *model : nullptr;
  }
  std::string LoadError(const std::vector<ControlUse>& controls) {
    const absl::Status status =
        Model::Load(Model(), {.precision = Precision::kFp32, .controls = controls}).status();
    EXPECT_FALSE(status.ok());
    return std::string(status.message());
  }
  RenderRequest Request(double start = 0, double end = 1) const {
    RenderRequest request;
    request.prompt = "a miniature blue cat";
    request.negative_prompt = "blurry";
    request.width = 80;
    request.height = 64;
    request.steps = 4;
    request.seed = 5;
    request.controls.push_back({picture_.view(), start, end});
    return request;
  }
  static std::vector<uint8_t> Pixels(const std::shared_ptr<const engine::Model>& model,
                                     const RenderRequest& request) {
    Renderer renderer(model);
    const auto picture = renderer.Render(request);
    EXPECT_TRUE(picture.ok()) << picture.status();
    return picture.ok() ? picture->rgb : std::vector<uint8_t>();
  }

  const std::string folder_ = Folder();
  const RgbImage picture_ = ParityControlPicture(0);
};

TEST_F(ControlTest, SteersOnlyWhenItHasASay) {
  const auto model = Load({{Small()}});
  const std::vector<uint8_t> all = Pixels(model, Request()), half = Pixels(model, Request(0, 0.5));
  EXPECT_NE(all, half);
  RenderRequest plain = Request();
  plain.controls.clear();
  const std::vector<uint8_t> without = Pixels(Load({}), plain);
  EXPECT_NE(half, without);
  EXPECT_EQ(Pixels(Load({{Small(), 0}}), Request()), without) << "of scale 0, it adds nothing";
  RenderRequest other = Request();
  const RgbImage another = ParityControlPicture(1);
  other.controls[0].picture = another.view();
  EXPECT_NE(Pixels(model, other), all);
}

TEST_F(ControlTest, AModelWithControlNetsIsOneOfItsOwn) {
  const auto hash = [&](const std::vector<ControlUse>& controls) { return Load(controls)->hash(); };
  EXPECT_EQ(hash({{Small(), 0.5}}), hash({{Small(), 0.5}}));
  EXPECT_NE(hash({{Small(), 0.5}}), hash({{Small(), 0.6}}));
  EXPECT_NE(hash({{Small()}}), hash({}));
  EXPECT_NE(hash({{Small()}}), hash({{Small()}, {Small()}}));
}

// Beside renders of another size and another window, in each precision.
TEST_F(ControlTest, I4InABatch) {
  for (const Precision precision : {Precision::kFp32, Precision::kBf16}) {
    if (precision == Precision::kBf16 && !cpu::HasBf16()) continue;
    const auto model = Load({{Small(), 0.7}}, precision);
    const std::vector<uint8_t> alone = Pixels(model, Request(0.2, 0.8));
    constexpr int kBatch = 3;
    for (int place = 0; place < kBatch; ++place) {
      std::barrier together(kBatch);
      std::vector<std::thread> slots;
      std::vector<uint8_t> found;
      for (int slot = 0; slot < kBatch; ++slot) {
        slots.emplace_back([&, slot] {
          Renderer renderer(model);
          RenderRequest neighbour = Request(0, slot % 2 == 0 ? 1 : 0.5);
          neighbour.width = 64 + 16 * slot;
          EXPECT_TRUE(renderer.Render(neighbour).ok());
          together.arrive_and_wait();
          const auto picture = renderer.Render(slot == place ? Request(0.2, 0.8) : neighbour);
          ASSERT_TRUE(picture.ok()) << picture.status();
          if (slot == place) found = picture->rgb;
        });
      }
      for (std::thread& slot : slots) slot.join();
      EXPECT_EQ(found, alone) << "at place " << place;
    }
  }
}

TEST_F(ControlTest, WhatDoesNotFitIsRefused) {
  EXPECT_THAT(LoadError({{folder_ + "control_sdxl"}}),
              HasSubstr("cross_attention_dim is 96, and 32 in"));
  EXPECT_THAT(LoadError({{folder_ + "control_sdxl"}}),
              HasSubstr("it was made for another base model"));
  EXPECT_THAT(LoadError({{Small(), 11}}), HasSubstr("scale 11 is outside 0 to 10"));
  EXPECT_THAT(LoadError({{folder_ + "nowhere"}}), HasSubstr("nowhere/config.json"));
  EXPECT_THAT(LoadError({{Model() + "/unet"}}), HasSubstr("_class_name"));

  const auto summary =
      Model::Examine(Model(), {}, {.controls = {Small(), folder_ + "control_sdxl"}});
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->demands.misfits, std::vector<std::string>{folder_ + "control_sdxl"});
}

TEST_F(ControlTest, RequestsAreLookedAtFirst) {
  const auto model = Load({{Small()}});
  const auto error = [&](const std::function<void(RenderRequest&)>& change) {
    RenderRequest request = Request();
    change(request);
    const absl::Status status = Renderer(model).Render(request).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    return std::string(status.message());
  };
  EXPECT_THAT(error([](RenderRequest& r) { r.controls.clear(); }),
              HasSubstr("0 pictures for 1 ControlNets"));
  EXPECT_THAT(error([](RenderRequest& r) { r.controls[0].picture = {}; }),
              HasSubstr("controls[0].picture is 0x0"));
  EXPECT_THAT(error([](RenderRequest& r) {
                r.controls[0].picture = {60000, 60000, {}};
              }),
              HasSubstr("controls[0].picture is 60000x60000"));
  EXPECT_THAT(error([](RenderRequest& r) { r.controls[0].start = 1; }),
              HasSubstr("controls[0]: start 1 and end 1"));
  EXPECT_THAT(error([](RenderRequest& r) { r.controls[0].end = std::nan(""); }),
              HasSubstr("controls[0]: start 0 and end nan"));
  EXPECT_THAT(error([](RenderRequest& r) { r.controls[0].start = 0.8; }),
              HasSubstr("holds none of 4 steps"));
}

TEST_F(ControlTest, IsDescribedAndChecked) {
  const auto description = DescribeControl(Small());
  ASSERT_TRUE(description.ok()) << description.status();
  EXPECT_EQ(description->kind, "ControlNet of 2 levels, 40 to 80 channels, text 32 wide");
  EXPECT_EQ(description->part.parameters, 649504u);
  EXPECT_EQ(description->hash.size(), 64u);
  const auto model = DescribeModel(Model(), {}, {.controls = {Small(), folder_ + "control_sdxl"}});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->fitting, std::vector<std::string>{Small()});

  const std::string damaged = folder_ + "damaged", file = "/diffusion_pytorch_model.safetensors";
  std::filesystem::remove_all(damaged);
  std::filesystem::copy(Small(), damaged);
  std::string bytes = *ReadFile(damaged + file);
  const auto put = [&] {
    ASSERT_TRUE(WriteFileAtomic(damaged + file, bytes, IfPresent::kReplace).ok());
  };
  const size_t name = bytes.find("controlnet_mid_block.bias");
  bytes[name] = 'X';
  put();
  EXPECT_THAT(Message(DescribeControl(damaged).status()), HasSubstr("controlnet_mid_block.bias"));
  bytes[name] = 'c';
  bytes[bytes.size() - 1] = 0x7f;  // with the byte before it a NaN, as BF16 holds it
  bytes[bytes.size() - 2] = '\xc0';
  put();
  EXPECT_THAT(Message(DescribeControl(damaged).status()), HasSubstr("is NaN or infinite"));
}

}  // namespace
}  // namespace tiltshift::engine
