// ControlNets, photos and masks through a whole farm: `tiltshift render`, `tiltshift models` and
// what they refuse, with small random models and a ControlNet.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/file.h"
#include "engine/testing/parity_case.h"
#include "engine/testing/parity_photo.h"
#include "picture/png.h"
#include "picture/png_chunk.h"
#include "tests/support/folder_test.h"
#include "tests/support/process.h"

namespace tiltshift {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using tests::Process;
using tests::Program;

constexpr int kLongMs = 180'000;

class ControlFarmTest : public tests::FolderTest {
 protected:
  void SetUp() override {
    models_ = folder_ + "/models";
    ASSERT_TRUE(engine::WriteParityModel(TILTSHIFT_SOURCE_DIR, "small", models_ + "/small").ok());
    ASSERT_TRUE(engine::WriteParityModel(TILTSHIFT_SOURCE_DIR, "photo", models_ + "/photo").ok());
    ASSERT_TRUE(
        engine::WriteParityControl(TILTSHIFT_SOURCE_DIR, "control_small", models_ + "/edges").ok());
    ASSERT_TRUE(
        engine::WriteParityControl(TILTSHIFT_SOURCE_DIR, "control_sdxl", models_ + "/edges_xl")
            .ok());
    for (int i = 0; i < 2; ++i) {
      const engine::RgbImage picture = engine::ParityControlPicture(i);
      Put(absl::StrCat("map", i, ".png"),
          *picture::EncodePng(picture.width, picture.height, picture.rgb));
    }
  }
  void Put(const std::string& name, const std::string& bytes) {
    ASSERT_TRUE(WriteFileAtomic(folder_ + "/" + name, bytes, IfPresent::kReplace).ok());
  }

  struct Result {
    int code;
    std::string text;
    std::vector<std::string> hashes;  // of the pictures, by index
  };
  Result Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), Program("tiltshift"));
    Process process(arguments, folder_);
    Result result;
    result.code = process.Wait(kLongMs);
    result.text = process.Output() + process.Errors();
    return result;
  }
  Result Render(const std::string& out, const std::string& more,
                const std::string& model = "small") {
    Put(out + ".yaml", absl::StrCat("name: n\nmodel: ", model,
                                    "\nprompt: a red {thing}\naxes: {thing: [cat, house]}\n",
                                    "render: {width: 64, height: 64, steps: 4}\n", more, "\n"));
    Result result = Run({"render", folder_ + "/" + out + ".yaml", "--out", folder_ + "/" + out,
                         "--models", models_, "--no-sheet", "--json"});
    const auto manifest = ReadFile(absl::StrCat(folder_, "/", out, "/manifest.jsonl"));
    std::istringstream lines(manifest.ok() ? *manifest : "");
    for (std::string line; std::getline(lines, line);)
      result.hashes.push_back(nlohmann::json::parse(line)["sha256"]);
    return result;
  }

  std::string models_;
};

TEST_F(ControlFarmTest, APictureSteersEveryVariant) {
  const Result plain = Render("plain", "");
  ASSERT_EQ(plain.code, 0) << plain.text;
  const Result steered =
      Render("steered", "controls: [{name: edges, picture: map0.png, scale: 0.8, end: 0.75}]");
  ASSERT_EQ(steered.code, 0) << steered.text;
  const Result again = Render(
      "again",
      "controls: [{name: edges, picture: map0.png, scale: 0.8, end: 0.75}]\nreproducible: strict");
  const Result other =
      Render("other", "controls: [{name: edges, picture: map1.png, scale: 0.8, end: 0.75}]");
  const Result two = Render(
      "two", "controls: [{name: edges, picture: map0.png}, {name: edges, picture: map1.png}]");
  ASSERT_EQ(steered.hashes.size(), 2u);
  EXPECT_EQ(steered.hashes, again.hashes) << again.text;
  ASSERT_EQ(other.hashes.size(), 2u) << other.text;
  ASSERT_EQ(two.hashes.size(), 2u) << two.text;
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_NE(steered.hashes[i], plain.hashes[i]);
    EXPECT_NE(steered.hashes[i], other.hashes[i]);
    EXPECT_NE(steered.hashes[i], two.hashes[i]);
  }
}

// What diffusers saved of its own pipeline with ControlNets: the model renders as any other, and
// what lies in its folder steers it and others.
TEST_F(ControlFarmTest, APipelineSavedWithItsControlNetsIsAModelWithThem) {
  const auto cases = engine::ReadParityCases(TILTSHIFT_SOURCE_DIR);
  ASSERT_TRUE(cases.ok()) << cases.status();
  const auto saved = std::ranges::find(*cases, "control_two", &engine::ParityCase::name);
  ASSERT_TRUE(engine::WriteParityModel(TILTSHIFT_SOURCE_DIR, *saved, models_ + "/saved").ok());
  const Result plain = Render("plain", "", "saved");
  ASSERT_EQ(plain.hashes.size(), 2u) << plain.text;
  const Result steered = Render("steered",
                                "controls: [{name: saved/controlnet, picture: map0.png},"
                                " {name: saved/controlnet_1, picture: map1.png}]",
                                "saved");
  ASSERT_EQ(steered.hashes.size(), 2u) << steered.text;
  EXPECT_NE(steered.hashes[0], plain.hashes[0]);
  const Result own = Render("own", "controls: [{name: saved/controlnet, picture: map0.png}]"),
               same = Render("same", "controls: [{name: edges, picture: map0.png}]");
  ASSERT_EQ(own.hashes.size(), 2u) << own.text;
  EXPECT_EQ(own.hashes, same.hashes) << same.text;

  const Result described = Run({"models", "saved", "--models", models_});
  EXPECT_EQ(described.code, 0) << described.text;
  EXPECT_THAT(described.text, AllOf(HasSubstr("saved/controlnet ControlNet of 2 levels"),
                                    HasSubstr("saved/controlnet_1 ControlNet of 2 levels"),
                                    HasSubstr("; fits saved"), Not(HasSubstr("edges"))));
  const Result unknown =
      Render("unknown", "controls: [{name: saved/canny, picture: map0.png}]", "saved");
  EXPECT_EQ(unknown.code, 2);
  EXPECT_THAT(unknown.text,
              HasSubstr("known are: edges, edges_xl, saved/controlnet, saved/controlnet_1"));
}

// Its header is right, and what follows is no picture: that is the decoder's to see, apart from the
// worker.
TEST_F(ControlFarmTest, APictureThatNobodyCanDecodeSaysSo) {
  const std::string good = *ReadFile(folder_ + "/map0.png");
  const std::string frame =
      good.substr(0, picture::kAfterPngHeader) + good.substr(good.size() - 12);
  Put("broken.png", *picture::WithChunk(frame, "IDAT", "no picture"));
  Put("broken.yaml",
      "name: n\nmodel: small\nprompt: a {thing}\naxes: {thing: [cat]}\n"
      "render: {width: 64, height: 64, steps: 4}\n"
      "controls: [{name: edges, picture: broken.png}]\n");
  const Result result = Run({"render", folder_ + "/broken.yaml", "--out", folder_ + "/broken",
                             "--models", models_, "--no-sheet"});
  EXPECT_EQ(result.code, 1) << result.text;
  EXPECT_THAT(result.text, HasSubstr("controls[0].picture: the PNG is damaged or cut off"));
  EXPECT_THAT(*ReadFile(folder_ + "/broken/failed.txt"), HasSubstr("variant 0 failed after 3"));
}

// A model that was trained to edit photos, and one that takes them as a beginning.
TEST_F(ControlFarmTest, APhotoDecidesThePicture) {
  for (const char* model : {"photo", "small"}) {
    const Result one = Render(absl::StrCat(model, "-one"), "photo: map0.png", model);
    const Result again = Render(absl::StrCat(model, "-again"), "photo: map0.png", model);
    const Result other = Render(absl::StrCat(model, "-other"), "photo: map1.png", model);
    ASSERT_EQ(one.hashes.size(), 2u) << one.text;
    EXPECT_EQ(one.hashes, again.hashes) << again.text;  // I4, under another photo's key
    EXPECT_NE(one.hashes[0], other.hashes[0]) << other.text;
  }
  EXPECT_EQ(Render("refused", "photo: nowhere.png", "photo").code, 2);
}

// The corner of `hole` pixels is light: made anew.
std::string MaskPng(int side, int hole) {
  std::vector<uint8_t> rgb(static_cast<size_t>(side) * side * 3);
  for (size_t i = 0; i < rgb.size(); ++i) {
    const int x = static_cast<int>(i / 3) % side, y = static_cast<int>(i / 3) / side;
    rgb[i] = x < hole && y < hole ? 255 : 0;
  }
  return *picture::EncodePng(side, side, rgb);
}

class MaskFarmTest : public ControlFarmTest {
 protected:
  // A contest whose entries have the masks beside their names; each one's picture is NAME.png.
  Result RenderMasked(const std::string& model, int side,
                      const std::map<std::string, std::string>& masks) {
    EXPECT_TRUE(engine::WriteParityModel(TILTSHIFT_SOURCE_DIR, model, models_ + "/" + model).ok());
    std::vector<uint8_t> photo(static_cast<size_t>(side) * side * 3);
    for (size_t i = 0; i < photo.size(); ++i) photo[i] = static_cast<uint8_t>(i * 7 % 251);
    Put("photo.png", *picture::EncodePng(side, side, photo));
    std::string table = "id,prompt,photo,mask\n";
    for (const auto& [name, mask] : masks)
      absl::StrAppend(&table, name, ",a red ", name, ",photo.png,", mask, "\n");
    Put("entries.csv", table);
    Put("masks.yaml", absl::StrCat("kind: contest\nname: n\nmodel: ", model,
                                   "\nentries: entries.csv\nrender: {width: ", side,
                                   ", height: ", side, ", steps: 4}\n"));
    return Run({"render", folder_ + "/masks.yaml", "--out", folder_ + "/masked", "--models",
                models_, "--no-sheet"});
  }
  // Of the picture, the square from pixel `from` to `to` both ways.
  std::vector<uint8_t> Part(const std::string& name, int from, int to) {
    const auto png = ReadFile(absl::StrCat(folder_, "/masked/", name, ".png"));
    const auto image =
        png.ok() ? picture::DecodePng(*png) : absl::StatusOr<picture::Image>(png.status());
    EXPECT_TRUE(image.ok()) << name << image.status();
    std::vector<uint8_t> part;
    for (int y = from; image.ok() && y < to; ++y) {
      const auto line = image->rgb.begin() + 3 * y * image->width;
      part.insert(part.end(), line + 3 * from, line + 3 * to);
    }
    return part;
  }
};

// Of a model without attention in its decoder, whose pixels far from the hole see nothing of it.
TEST_F(MaskFarmTest, OutsideItsMaskAPhotoStays) {
  constexpr int kSide = 256, kHole = 48;
  Put("corner.png", MaskPng(kSide, kHole));
  Put("nothing.png", MaskPng(kSide, 0));
  const Result rendered = RenderMasked(
      "taesd", kSide, {{"cat", "corner.png"}, {"house", "corner.png"}, {"kept", "nothing.png"}});
  ASSERT_EQ(rendered.code, 0) << rendered.text;
  EXPECT_NE(Part("cat", 0, kHole), Part("house", 0, kHole));
  EXPECT_NE(Part("cat", 0, kHole), Part("kept", 0, kHole));
  const auto kept = Part("kept", kSide - kHole, kSide);
  EXPECT_EQ(Part("cat", kSide - kHole, kSide), kept);
  EXPECT_EQ(Part("house", kSide - kHole, kSide), kept);
}

// One that was trained to fill in masks, and is given nothing else.
TEST_F(MaskFarmTest, AModelForMasksIsGivenThem) {
  Put("small.png", MaskPng(64, 24));
  Put("large.png", MaskPng(64, 40));
  const Result rendered = RenderMasked("mask", 64, {{"cat", "small.png"}, {"dog", "large.png"}});
  ASSERT_EQ(rendered.code, 0) << rendered.text;
  EXPECT_NE(Part("cat", 0, 64), Part("dog", 0, 64));
  Put("other-size.png", MaskPng(72, 24));
  const Result refused = RenderMasked("mask", 64, {{"cat", "other-size.png"}});
  EXPECT_EQ(refused.code, 2);
  EXPECT_THAT(refused.text, HasSubstr("entries.csv:2: column mask: other-size.png: is 72x72, and "
                                      "photo.png is 64x64"));
}

TEST_F(ControlFarmTest, WhatCantBeDoneIsRefusedBeforeItIsBegun) {
  const auto refused = [&](const std::string& more, const std::string& model = "small") {
    const Result result = Render("refused", more, model);
    EXPECT_EQ(result.code, 2) << result.text;
    return result.text;
  };
  EXPECT_THAT(refused("controls: [{name: edges_xl, picture: map0.png}]"),
              HasSubstr("controls[0].name: edges_xl does not fit model small"));
  EXPECT_THAT(refused("controls: [{name: lines, picture: map0.png}]"),
              HasSubstr("known are: edges, edges_xl"));
  EXPECT_THAT(refused("", "photo"),
              HasSubstr("model: photo makes pictures of a photo and a prompt"));
  EXPECT_THAT(refused("controls: [{name: edges, picture: nowhere.png}]"),
              HasSubstr("controls[0].picture"));
}

TEST_F(ControlFarmTest, ModelsDescribesAndChecksThem) {
  const Result all = Run({"models", "--models", models_});
  EXPECT_EQ(all.code, 0) << all.text;
  EXPECT_THAT(all.text,
              HasSubstr("ControlNet of 2 levels, 40 to 80 channels, text 32 wide; fits small"));
  const std::string file = models_ + "/edges/diffusion_pytorch_model.safetensors";
  ASSERT_TRUE(WriteFileAtomic(file, ReadFile(file)->substr(0, 100'000), IfPresent::kReplace).ok());
  const Result damaged = Run({"models", "edges", "--models", models_});
  EXPECT_EQ(damaged.code, 5);
  EXPECT_THAT(damaged.text, AllOf(HasSubstr("edges"), HasSubstr("NOT USABLE"),
                                  HasSubstr("fetch that part again")));
}

}  // namespace
}  // namespace tiltshift
