#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "models/recipe/scenes/render.h"

namespace tiltshift::scenes {
namespace {

using ::testing::HasSubstr;

constexpr RenderOptions kSmall{.size = 32, .supersample = 1};

FixedAttributes Fix(Attribute attribute, int word) {
  FixedAttributes fixed;
  fixed[static_cast<int>(attribute)] = word;
  return fixed;
}

std::vector<Scene> Draw(uint64_t seed, int count, const FixedAttributes& fixed = {}) {
  std::vector<Scene> scenes;
  for (int i = 0; i < count; ++i) scenes.push_back(DrawScene(seed, i, fixed));
  return scenes;
}

struct Spread {
  double mean, deviation;
};

Spread SpreadOf(const std::vector<uint8_t>& rgb) {
  double sum = 0, squares = 0;
  for (const uint8_t value : rgb) {
    sum += value;
    squares += double{1} * value * value;
  }
  const double mean = sum / rgb.size();
  return {mean, std::sqrt(squares / rgb.size() - mean * mean)};
}

double Psnr(const std::vector<uint8_t>& a, const std::vector<uint8_t>& b) {
  double squares = 0;
  for (size_t i = 0; i < a.size(); ++i) squares += std::pow(double{1} * a[i] - b[i], 2);
  return 10 * std::log10(255 * 255 / std::max(squares / a.size(), 1e-9));
}

// The draws are a contract: a seed written in a recipe must go on meaning the same scenes.
TEST(Grammar, SeedSevenStaysWhatItWas) {
  const auto scenes = Draw(7, 3);
  EXPECT_EQ(
      Caption(scenes[0]),
      "a miniature yellow plastic rocket on a round black base, grass background, warm light, "
      "side view");
  EXPECT_EQ(
      Caption(scenes[1]),
      "a miniature blue wooden car on a round black base, snow background, soft light, top view");
  EXPECT_EQ(Caption(scenes[2]),
            "a miniature purple wooden car on a square stone base, desk background, soft light, "
            "front view");
}

TEST(Grammar, FixedWordsAreInTheCaptionAndLeaveTheOthersAlone) {
  const auto free = Draw(3, 20);
  for (int a = 0; a < kAttributes; ++a) {
    const auto attribute = static_cast<Attribute>(a);
    for (int word = 0; word < static_cast<int>(Words(attribute).size()); ++word) {
      const auto fixed = Draw(3, 20, Fix(attribute, word));
      for (int i = 0; i < 20; ++i) {
        EXPECT_THAT(Caption(fixed[i]), HasSubstr(std::string(Words(attribute)[word])));
        EXPECT_EQ(fixed[i].shape[0], free[i].shape[0]);
        EXPECT_EQ(fixed[i].texture_offset, free[i].texture_offset);
        if (attribute != Attribute::kColor) {
          EXPECT_EQ(fixed[i].color, free[i].color);
        }
      }
    }
  }
}

TEST(Grammar, EveryWordIsDrawn) {
  std::array<std::set<int>, kAttributes> seen;
  for (const Scene& s : Draw(1, 300)) {
    const Attributes words{s.subject, s.color, s.material, s.base, s.background, s.light, s.view};
    for (int a = 0; a < kAttributes; ++a) seen[a].insert(words[a]);
  }
  for (int a = 0; a < kAttributes; ++a) {
    EXPECT_EQ(seen[a].size(), Words(static_cast<Attribute>(a)).size());
  }
}

TEST(Grammar, AnUnknownWordIsToldTheKnownOnes) {
  const auto word = FindWord(Attribute::kBackground, "beach");
  EXPECT_EQ(word.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(word.status().message()),
              AllOf(HasSubstr("background"), HasSubstr("beach"), HasSubstr("\"neon night\"")));
  EXPECT_EQ(*FindWord(Attribute::kSubject, "cat"), kCat);
}

TEST(Render, SameBytesForAnyThreadCountAndAgain) {
  const auto scenes = Draw(11, 13);
  RenderOptions options = kSmall;
  const auto once = RenderAll(scenes, options);
  EXPECT_TRUE(RenderAll(scenes, options) == once);
  for (const int threads : {2, 5, 20}) {
    options.threads = threads;
    EXPECT_TRUE(RenderAll(scenes, options) == once) << threads << " threads";
  }
}

// On every background every subject is lit, and covers enough to change the picture from any other
// subject's.
TEST(Render, EverySubjectShowsOnEveryBackground) {
  for (int background = 0; background <= kNeonNight; ++background) {
    std::set<std::string> pictures;
    for (int subject = 0; subject <= kRocket; ++subject) {
      FixedAttributes fixed = Fix(Attribute::kBackground, background);
      fixed[static_cast<int>(Attribute::kSubject)] = subject;
      const auto picture = Render(DrawScene(5, 0, fixed), kSmall, RunnableVariants().front());
      const Spread spread = SpreadOf(picture);
      EXPECT_GT(spread.deviation, 12) << subject << " on " << background;
      EXPECT_GT(spread.mean, 20) << subject << " on " << background;
      EXPECT_LT(spread.mean, 235) << subject << " on " << background;
      pictures.emplace(picture.begin(), picture.end());
    }
    EXPECT_EQ(pictures.size(), size_t{kRocket} + 1);
  }
}

TEST(Render, ColorOfTheSubjectShows) {
  double red_minus_blue[2];
  for (const int color : {0, 4}) {  // red, blue
    FixedAttributes fixed = Fix(Attribute::kColor, color);
    fixed[static_cast<int>(Attribute::kSubject)] = kCat;
    fixed[static_cast<int>(Attribute::kBackground)] = kStudio;
    const auto rgb = Render(DrawScene(2, 0, fixed), kSmall, RunnableVariants().front());
    double difference = 0;
    for (int y = 12; y < 20; ++y) {
      for (int x = 12; x < 20; ++x) {
        difference += rgb[(y * 32 + x) * 3] - rgb[(y * 32 + x) * 3 + 2];
      }
    }
    red_minus_blue[color / 4] = difference / 64;
  }
  EXPECT_GT(red_minus_blue[0], 30);
  EXPECT_LT(red_minus_blue[1], -30);
}

// Variants differ in whether a product and a sum round once or twice. That can move a ray across an
// edge, and then its pixel by as much as the scene has contrast; elsewhere values agree to about a
// code. If a share e of the pixels has a ray on the other side of an edge, off by at most half the
// range, the mean square error is e * 128^2
// + 1. A hit within rounding (1e-6) of the hit distance 1.8e-3 is a chance of about 1e-3 a ray that
// grazes an edge, and a few rays in a hundred graze one: e < 1e-4, so an error below 2.6 and a PSNR
// above 44 dB.
TEST(Render, VariantsAgree) {
  const RenderOptions options{.size = 64, .supersample = 2};
  const auto variants = RunnableVariants();
  for (const Scene& scene : Draw(9, 12)) {
    const auto reference = Render(scene, options, variants.back());
    for (const IsaVariant& variant : variants) {
      EXPECT_GT(Psnr(Render(scene, options, variant), reference), 44)
          << variant.name << ": " << Caption(scene);
    }
  }
}

// The look is a contract too: a model learned it. A picture whose PSNR to the one meant is above
// VariantsAgree's 44 dB has a root mean square error below 1.61; all of it in one channel, that is
// 2.79 there, and no mean is further off. 0.05 more for the rounding below.
TEST(Render, MeanColorsStayWhatTheyWere) {
  constexpr double kMeans[4][3] = {
      {196.7, 193.3, 169.2}, {208.0, 192.7, 205.7}, {184.7, 172.2, 159.2}, {142.6, 159.6, 83.4}};
  const double tolerance = 255 * std::sqrt(3) * std::pow(10, -44 / 20.) + 0.05;
  const RenderOptions options{.size = 64, .supersample = 2};
  for (int i = 0; i < 4; ++i) {
    const auto rgb = Render(DrawScene(9, i, {}), options, RunnableVariants().front());
    double sums[3] = {};
    for (size_t k = 0; k < rgb.size(); ++k) sums[k % 3] += rgb[k];
    for (int c = 0; c < 3; ++c) {
      EXPECT_NEAR(sums[c] / (64 * 64), kMeans[i][c], tolerance)
          << "scene " << i << ", channel " << c;
    }
  }
}

TEST(Render, BaselineRunsEverywhere) { EXPECT_EQ(RunnableVariants().back().name, "baseline"); }

}  // namespace
}  // namespace tiltshift::scenes
