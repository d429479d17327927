#include "plan/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "plan/combination.h"
#include "plan/text.h"

namespace tiltshift::plan {
namespace {

using ::testing::HasSubstr;

v1::JobSpec Spec() {
  v1::JobSpec spec;
  spec.set_name("test");
  spec.set_model("diorama");
  spec.set_prompt("a {color} {subject}");
  return spec;
}

void AddList(v1::JobSpec& spec, const std::string& name, const std::vector<std::string>& values) {
  v1::Axis& axis = *spec.add_axes();
  axis.set_name(name);
  for (const auto& value : values) axis.mutable_list()->add_values(value);
}

void AddRange(v1::JobSpec& spec, const std::string& name, const std::string& range) {
  v1::Axis& axis = *spec.add_axes();
  axis.set_name(name);
  axis.set_range(range);
}

v1::JobSpec Figurines() {
  v1::JobSpec spec = Spec();
  AddList(spec, "subject", {"robot", "cat"});
  AddList(spec, "color", {"red", "blue"});
  AddRange(spec, "seed", "1-50");
  spec.mutable_output()->set_name("{subject}-{color}-{seed}");
  return spec;
}

std::string Error(const v1::JobSpec& spec) {
  return std::string(Plan::Create(spec).status().message());
}

// What the engine would refuse at the first variant that has it, refused at submission.
TEST(Plan, PromptWeightsAreInBounds) {
  v1::JobSpec spec = Spec();
  AddList(spec, "subject", {"robot", "cat (big:-12)", "dog"});
  AddList(spec, "color", {"red"});
  EXPECT_THAT(
      Error(spec),
      HasSubstr("axes.subject[1]: prompt: the prompt weighs \"big\" by -12; weights must be "
                "-10 to 10"));
  spec = Spec();
  spec.set_prompt("a (red:10.5) robot");
  EXPECT_THAT(Error(spec), HasSubstr("prompt: the prompt weighs \"red\" by 10.5"));
  spec.set_prompt("a robot");
  spec.set_negative_prompt("((blurry:5):5)");
  EXPECT_THAT(Error(spec), HasSubstr("negative_prompt: the prompt weighs \"blurry\" by 25"));
  spec.set_prompt("a (red:{w}) robot");
  spec.set_negative_prompt("");
  AddRange(spec, "w", "3,20-1:-1");
  EXPECT_THAT(Error(spec), HasSubstr("a value appears twice")) << "a range's own check comes first";
  spec.mutable_axes(0)->set_range("3-10,20,1");
  EXPECT_THAT(Error(spec), HasSubstr("axes.w[8]: prompt: the prompt weighs \"red\" by 20"));
  spec.mutable_axes(0)->set_range("-10-10");
  EXPECT_EQ(Error(spec), "");
}

TEST(Plan, RightmostAxisIsFastest) {
  const auto plan = Plan::Create(Figurines());
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->count(), 200u);
  const Variant variant = plan->At(51);
  EXPECT_EQ(variant.prompt, "a blue robot");
  EXPECT_EQ(variant.seed, 2u);
  EXPECT_EQ(variant.output_name, "robot-blue-2.png");
  EXPECT_EQ(*plan->IndexOf(variant.parameters), 51u);
}

TEST(Plan, AJobWithoutAxesIsOnePicture) {
  v1::JobSpec spec = Spec();
  spec.set_prompt("a red {{cat}}");
  const auto plan = Plan::Create(spec);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->count(), 1u);
  EXPECT_EQ(plan->At(0).prompt, "a red {cat}");
  EXPECT_EQ(plan->At(0).output_name, "0.png");
}

TEST(Plan, AssociationPairs) {
  v1::JobSpec spec = Figurines();
  spec.set_combine("(subject, color) * seed");
  const auto plan = Plan::Create(spec);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->count(), 100u);
  EXPECT_EQ(plan->At(50).prompt, "a blue cat");
  EXPECT_EQ(plan->IndexOf({{"subject", "robot"}, {"color", "blue"}, {"seed", "1"}}).status().code(),
            absl::StatusCode::kNotFound);
}

TEST(Plan, ErrorsSayWhereWhatAndWhatIsKnown) {
  v1::JobSpec spec = Figurines();
  spec.set_prompt("a {colour} cat");
  EXPECT_EQ(
      Error(spec),
      "prompt, column 3: unknown name {colour}; known are: {subject}, {color}, {seed}, {index}");
  spec = Figurines();
  spec.set_combine("(subject, seed) * color");
  EXPECT_EQ(Error(spec),
            "combine: \"(subject, seed) * color\", column 15: the parts of an association need "
            "equal lengths; here 2 and 50");
  spec.set_combine("subject * size * color * seed");
  EXPECT_EQ(Error(spec),
            "combine: \"subject * size * color * seed\", column 11: unknown axis size; the axes "
            "are: subject, color, seed");
  spec.set_combine("subject * color");
  EXPECT_THAT(Error(spec), HasSubstr("axis seed is missing; multiply by it, or remove the axis"));
  spec = Figurines();
  AddList(spec, "size", {"big", "small", "big"});
  EXPECT_EQ(Error(spec), "axes.size[2]: \"big\" is there already, at [0]");
  spec = Figurines();
  spec.mutable_render()->set_width(250);
  EXPECT_EQ(Error(spec), "render.width: 250 is not a multiple of 8 from 64 to 2048");
  spec = Spec();
  AddRange(spec, "seed", "-3-3");
  spec.set_prompt("x");
  EXPECT_EQ(Error(spec), "axes.seed: a seed is a whole number from 0 up");
}

TEST(Plan, ASeedCountsOnceHoweverItIsWritten) {
  v1::JobSpec spec = Spec();
  AddList(spec, "seed", {"7", "1", "01"});
  spec.set_prompt("x");
  EXPECT_EQ(Error(spec), "axes.seed[2]: \"01\" is the same seed as \"1\" at [1]");
  spec = Spec();
  AddList(spec, "seed", {"1", "010"});
  spec.set_prompt("x");
  EXPECT_TRUE(Plan::Create(spec).ok());
  spec = Spec();  // of another axis they are two texts
  AddList(spec, "n", {"1", "01"});
  spec.set_prompt("{n}");
  EXPECT_TRUE(Plan::Create(spec).ok());
}

TEST(Plan, WhatItExpandsToIsBounded) {
  v1::JobSpec spec = Spec();
  AddList(spec, "long", {std::string(1000, 'x')});
  std::string nine;
  for (int i = 0; i < 9; ++i) nine += "{long}";
  spec.set_prompt(nine);
  EXPECT_EQ(Error(spec),
            "prompt: could become 9000 bytes long with the longest values; the limit is 8192");
  spec.set_prompt("x");
  for (int axis = 0; axis < 4; ++axis) {
    std::vector<std::string> values;
    for (int i = 0; i < 1000; ++i) values.push_back(std::to_string(i) + std::string(1000, 'x'));
    AddList(spec, "a" + std::to_string(axis), values);
  }
  EXPECT_THAT(Error(spec), HasSubstr("the limit is 3500000, so use ranges or split the job"));
}

TEST(Plan, TextsAreUtf8) {
  for (const char* good : {"café", "\xf0\x9f\x90\xb1", "\xf4\x8f\xbf\xbf", ""})
    EXPECT_TRUE(IsUtf8(good)) << good;
  for (const char* bad : {"\xe9", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82",
                          "\x80", "\xf0\x80\x80\xaf"})
    EXPECT_FALSE(IsUtf8(bad)) << bad;
  v1::JobSpec spec = Spec();
  AddList(spec, "subject", {"a", std::string("b\0c", 3)});
  EXPECT_EQ(Error(spec), "axes.subject[1]: holds a zero byte");
}

TEST(Plan, OnlyTheWrittenFormOfANumberIsAValue) {
  const auto plan = Plan::Create(Figurines());
  EXPECT_EQ(plan->IndexOf({{"subject", "cat"}, {"color", "red"}, {"seed", "01"}}).status().code(),
            absl::StatusCode::kNotFound);
}

TEST(Plan, OverflowIsRefused) {
  v1::JobSpec spec = Spec();
  spec.set_prompt("x");
  for (const char* name : {"a", "b", "c", "d"}) AddRange(spec, name, "1-65536");
  EXPECT_EQ(Plan::Create(spec).status().code(), absl::StatusCode::kOutOfRange);
  spec.mutable_axes(3)->set_range("1-16384");
  const auto plan = Plan::Create(spec);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->count(), uint64_t{1} << 62);
}

// ---- output names: unique by themselves, or by the index behind them

std::string FirstName(v1::JobSpec spec, const std::string& name) {
  spec.mutable_output()->set_name(name);
  const auto plan = Plan::Create(spec);
  return plan.ok() ? plan->At(0).output_name : std::string(plan.status().message());
}

TEST(OutputName, GetsTheIndexWhereItCouldRepeat) {
  EXPECT_EQ(FirstName(Figurines(), "{subject}_{color}_{seed}"), "robot_red_1.png");
  EXPECT_EQ(FirstName(Figurines(), "{subject}-{color}"), "robot-red-0.png");
  EXPECT_EQ(FirstName(Figurines(), "{subject}{color}{seed}"), "robotred1-0.png");
  v1::JobSpec spec = Spec();
  AddList(spec, "subject", {"a-b", "a"});
  AddList(spec, "color", {"c", "b-c"});
  EXPECT_EQ(FirstName(spec, "{subject}-{color}"), "a-b-c-0.png");
}

TEST(OutputName, OneAxisOfAnAssociationIsEnough) {
  v1::JobSpec spec = Figurines();
  spec.set_combine("(subject, color) * seed");
  EXPECT_EQ(FirstName(spec, "{subject}-{seed}"), "robot-1.png");
  EXPECT_EQ(FirstName(spec, "{subject}-{color}"), "robot-red-0.png");
}

TEST(OutputName, RefusesWhatIsNoFileName) {
  EXPECT_THAT(FirstName(Figurines(), "../{subject}"), HasSubstr("output.name: holds '/'"));
  EXPECT_THAT(FirstName(Figurines(), ".{subject}"), HasSubstr("hidden or empty"));
  v1::JobSpec spec = Figurines();
  AddList(spec, "size", {"10/20"});
  EXPECT_THAT(FirstName(spec, "{subject}-{size}"), HasSubstr("axes.size[0]: holds '/'"));
  AddList(spec, "long", {std::string(300, 'x')});
  EXPECT_THAT(FirstName(spec, "{long}"), HasSubstr("the limit is 200"));
}

// ---- properties over random spaces

struct RandomSpace {
  v1::JobSpec spec;
  uint64_t expected = 1;
};

// Axes of random sizes, some tied together by an association of equal lengths, up to 2^62 variants.
RandomSpace MakeSpace(std::mt19937_64& random) {
  auto pick = [&](uint64_t low, uint64_t high) {
    return std::uniform_int_distribution<uint64_t>(low, high)(random);
  };
  RandomSpace space;
  space.spec = Spec();
  space.spec.set_prompt("x");
  std::string combine;
  const int groups = static_cast<int>(pick(1, 5));
  for (int g = 0; g < groups; ++g) {
    const uint64_t room = Combination::kMostVariants / space.expected;
    const uint64_t size = pick(1, std::min<uint64_t>(room, uint64_t{1} << pick(1, 40)));
    space.expected *= size;
    const int members = static_cast<int>(pick(1, 3));
    std::string group;
    for (int m = 0; m < members; ++m) {
      const std::string name = "a" + std::to_string(g) + std::to_string(m);
      const int64_t first = static_cast<int64_t>(pick(0, 1000)) - 500;
      AddRange(
          space.spec, name,
          std::to_string(first) + "-" + std::to_string(first + static_cast<int64_t>(size) - 1));
      group += (m ? ", " : "") + name;
    }
    combine += (g ? " * " : "") + std::string("(") + group + ")";
  }
  space.spec.set_combine(combine);
  return space;
}

TEST(PlanProperty, IndexAndParametersAreABijection) {
  std::mt19937_64 random(11);
  for (int trial = 0; trial < 500; ++trial) {
    const RandomSpace space = MakeSpace(random);
    const auto plan = Plan::Create(space.spec);
    ASSERT_TRUE(plan.ok()) << plan.status();
    ASSERT_EQ(plan->count(), space.expected);
    for (int i = 0; i < 50; ++i) {
      const uint64_t index = std::uniform_int_distribution<uint64_t>(0, space.expected - 1)(random);
      const auto back = plan->IndexOf(plan->At(index).parameters);
      ASSERT_TRUE(back.ok()) << back.status();
      ASSERT_EQ(*back, index) << space.spec.combine();
    }
  }
}

TEST(PlanProperty, SmallSpacesHaveDistinctParametersAndNames) {
  std::mt19937_64 random(12);
  const std::vector<std::string> words = {"a", "b", "a-b", "-", "1", "12", "_", "a_b"};
  const std::vector<std::string> joints = {"", "-", "_", "x-"};
  for (int trial = 0; trial < 400; ++trial) {
    v1::JobSpec spec = Spec();
    spec.set_prompt("x");
    std::string name = "n";
    for (const char* axis : {"p", "q", "r"}) {
      std::vector<std::string> values = words;
      std::shuffle(values.begin(), values.end(), random);
      values.resize(1 + random() % 4);
      AddList(spec, axis, values);
      if (random() % 4) name += std::string("{") + axis + "}" + joints[random() % joints.size()];
    }
    spec.mutable_output()->set_name(name);
    const auto plan = Plan::Create(spec);
    ASSERT_TRUE(plan.ok()) << plan.status();
    std::set<std::string> names;
    std::set<std::map<std::string, std::string>> parameters;
    for (uint64_t i = 0; i < plan->count(); ++i) {
      ASSERT_TRUE(names.insert(plan->At(i).output_name).second)
          << name << " " << plan->At(i).output_name;
      ASSERT_TRUE(parameters.insert(plan->At(i).parameters).second);
    }
  }
}

}  // namespace
}  // namespace tiltshift::plan
