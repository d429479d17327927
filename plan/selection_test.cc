#include "plan/selection.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "plan/plan.h"

namespace tiltshift::plan {
namespace {

using Choices = std::map<std::string, std::vector<std::string>>;

Plan PlanOf(const std::string& combine) {
  v1::JobSpec spec;
  spec.set_name("test");
  spec.set_model("diorama");
  spec.set_prompt("{a} {b} {c} {n}");
  const auto list = [&](const char* name, std::vector<std::string> values) {
    v1::Axis& axis = *spec.add_axes();
    axis.set_name(name);
    for (const std::string& value : values) axis.mutable_list()->add_values(value);
  };
  list("a", {"p", "q", "r"});
  list("b", {"x", "y"});
  list("c", {"1", "2", "3", "4", "5", "6"});
  v1::Axis& range = *spec.add_axes();
  range.set_name("n");
  range.set_range("5-9:2");
  spec.set_combine(combine);
  auto plan = Plan::Create(spec);
  EXPECT_TRUE(plan.ok()) << plan.status();
  return *std::move(plan);
}

// Every variant looked at, one by one.
std::vector<uint64_t> ByHand(const Plan& plan, const Choices& choices) {
  std::vector<uint64_t> indices;
  for (uint64_t i = 0; i < plan.count(); ++i) {
    const Variant variant = plan.At(i);
    const bool chosen = std::all_of(choices.begin(), choices.end(), [&](const auto& choice) {
      const auto& [axis, values] = choice;
      return std::count(values.begin(), values.end(), variant.parameters.at(axis)) > 0;
    });
    if (chosen) indices.push_back(i);
  }
  return indices;
}

TEST(SelectionTest, HasWhatGoingThroughAllFinds) {
  const std::vector<Choices> all_choices = {
      {},
      {{"a", {"q"}}},
      {{"a", {"r", "p", "r"}}, {"b", {"y"}}},
      {{"c", {"6", "1", "3"}}},
      {{"c", {"2", "5"}}, {"a", {"q", "r"}}},
      {{"n", {"9", "5"}}, {"c", {"4"}}, {"b", {"x"}}},
      {{"b", {}}},
      {{"a", {"p"}}, {"c", {"6"}}},
  };
  for (const char* combine : {"", "a * b * c * n", "n * (a * b, c)", "(c, b * a) * n",
                              "b * (a, n) * c", "(n, a) * (b) * c"}) {
    const Plan plan = PlanOf(combine);
    for (const Choices& choices : all_choices) {
      const auto selection = plan.Select(choices);
      ASSERT_TRUE(selection.ok()) << selection.status();
      std::vector<uint64_t> indices;
      for (uint64_t i = 0; i < selection->count(); ++i) indices.push_back(selection->IndexAt(i));
      EXPECT_EQ(indices, ByHand(plan, choices)) << combine;
    }
  }
}

TEST(SelectionTest, FindsTheLastOfManyAtOnce) {
  v1::JobSpec spec;
  spec.set_name("test");
  spec.set_model("diorama");
  spec.set_prompt("{a} {b}");
  for (const char* name : {"a", "b"}) {
    v1::Axis& axis = *spec.add_axes();
    axis.set_name(name);
    axis.set_range("1-1000000000");
  }
  const auto plan = Plan::Create(spec);
  ASSERT_TRUE(plan.ok()) << plan.status();
  const auto selection = plan->Select({{"b", {"7", "1000000000"}}});
  ASSERT_TRUE(selection.ok());
  EXPECT_EQ(selection->count(), 2'000'000'000u);
  EXPECT_EQ(selection->IndexAt(0), 6u);
  EXPECT_EQ(selection->IndexAt(1'999'999'999), plan->count() - 1);
}

TEST(SelectionTest, SaysWhatIsUnknown) {
  const Plan plan = PlanOf("");
  EXPECT_EQ(plan.Select({{"a", {"z"}}}).status().message(), "axis a has no value \"z\"");
  EXPECT_TRUE(absl::IsInvalidArgument(plan.Select({{"d", {"x"}}}).status()));
}

}  // namespace
}  // namespace tiltshift::plan
