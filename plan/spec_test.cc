#include "plan/spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "plan/model_variant.h"
#include "plan/plan.h"

namespace tiltshift::plan {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::StatusOr<v1::JobSpec> Parsed(const std::string& text, const std::string& name,
                                   const std::string& folder) {
  TS_ASSIGN_OR_RETURN(SpecFile file, ParseSpec(text, name, folder));
  return std::move(file.spec);
}

std::string Error(const std::string& text) {
  return std::string(Parsed(text, "spec.yaml", ".").status().message());
}

TEST(Spec, YamlBecomesAJobSpec) {
  const auto spec = Parsed(R"(
kind: campaign
name: summer
model: diorama
prompt: "a {color} cat"
axes: {color: [red, 'blue'], seed: {range: 1-3}}
combine: "color * seed"
render: {width: 128, steps: 4, guidance_scale: 2.5, sampler: euler, precision: fp32}
output: {format: png, name: "{color}-{seed}"}
)",
                           "spec.yaml", ".");
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->name(), "summer");
  EXPECT_THAT(spec->axes(0).list().values(), ElementsAre("red", "blue"));
  EXPECT_EQ(spec->axes(1).range(), "1-3");
  EXPECT_EQ(spec->render().sampler(), v1::SAMPLER_EULER);
  EXPECT_EQ(spec->render().guidance_scale(), 2.5);
  EXPECT_EQ(Plan::Create(*spec)->count(), 6u);
}

TEST(Spec, EverySamplerHasAName) {
  const std::pair<const char*, v1::Sampler> names[] = {
      {"ddim", v1::SAMPLER_DDIM},
      {"euler", v1::SAMPLER_EULER},
      {"euler_a", v1::SAMPLER_EULER_A},
      {"dpmpp_2m", v1::SAMPLER_DPMPP_2M},
      {"dpmpp_2m_karras", v1::SAMPLER_DPMPP_2M_KARRAS},
      {"lcm", v1::SAMPLER_LCM}};
  EXPECT_EQ(std::size(names) + 1, static_cast<size_t>(v1::Sampler_ARRAYSIZE))
      << "one without a name";
  for (const auto& [name, sampler] : names) {
    const auto spec =
        Parsed(absl::StrCat("name: x\nmodel: diorama\nprompt: x\nrender: {sampler: ", name, "}\n"),
               "s", ".");
    ASSERT_TRUE(spec.ok()) << spec.status();
    EXPECT_EQ(spec->render().sampler(), sampler);
  }
}

TEST(Spec, WhatPicturesSayOfThemselves) {
  const std::string head = "name: x\nmodel: diorama\nprompt: x\n";
  const auto spec = Parsed(
      head + "output: {owner: Brand, license: CC BY 4.0, tell: [prompt, author]}\n", "s", ".");
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->output().owner(), "Brand");
  EXPECT_EQ(spec->output().license(), "CC BY 4.0");
  EXPECT_TRUE(spec->output().tell_prompt() && spec->output().tell_author());
  EXPECT_THAT(Error(head + "output: {tell: [prompts]}\n"),
              HasSubstr("output.tell[0]: unknown value \"prompts\"; did you mean prompt?"));
  EXPECT_THAT(Error(head + "output: {tell: prompt}\n"), HasSubstr("expected a list"));
  v1::JobSpec long_owner = *spec;
  long_owner.mutable_output()->set_owner(std::string(1'025, 'x'));
  EXPECT_THAT(std::string(Plan::Create(long_owner).status().message()),
              HasSubstr("output.owner: longer"));
}

TEST(Spec, WhatIsSaidOfTheText) {
  const std::string head = "name: x\nmodel: diorama\nprompt: x\n";
  const auto plan = [&](const std::string& rest) {
    return Plan::Create(*Parsed(head + rest, "s", "."));
  };
  EXPECT_EQ(plan("")->At(0).negative_prompt, std::nullopt);
  EXPECT_EQ(plan("negative_prompt: ''")->At(0).negative_prompt, "");
  EXPECT_EQ(plan("negative_prompt: 'no {index}'")->At(0).negative_prompt, "no 0");
  EXPECT_EQ(plan("")->spec().render().clip_skip(), 0u);
  EXPECT_EQ(plan("render: {clip_skip: 2}")->spec().render().clip_skip(), 2u);
  EXPECT_EQ(plan("render: {clip_skip: 0}")->spec().render().clip_skip(), 0u);
  EXPECT_EQ(plan("render: {clip_skip: 31}").status().message(),
            "render.clip_skip: 31 is more than 30");
  EXPECT_THAT(Error(head + "render: {guidance_scale: 0}"),
              HasSubstr("which some model cards call 0"));
}

TEST(Spec, LorasAreASetWithWeights) {
  const std::string head = "name: x\nmodel: diorama\nprompt: x\n";
  const auto spec = Parsed(head + "loras: [{name: toy, weight: -0.8}, {name: soft}]\n", "s", ".");
  ASSERT_TRUE(spec.ok()) << spec.status();
  const auto plan = Plan::Create(*spec);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->spec().loras(0).name(), "toy");
  EXPECT_EQ(plan->spec().loras(0).weight(), -0.8);
  EXPECT_EQ(plan->spec().loras(1).weight(), 1);

  const auto variant = [&](const std::string& loras) {
    return ModelVariant(Plan::Create(*Parsed(head + loras, "s", "."))->spec());
  };
  EXPECT_EQ(variant(""), "diorama");
  EXPECT_EQ(variant("loras: [{name: toy}, {name: soft}]"),
            variant("loras: [{name: soft}, {name: toy, weight: 1}]"));
  EXPECT_NE(variant("loras: [{name: toy}]"), variant("loras: [{name: toy, weight: 0.9}]"));

  const std::pair<const char*, const char*> bad[] = {
      {"toy", "spec.yaml:4: loras: expected a list: [{name: toy, weight: 0.8}]"},
      {"[{name: toy, wieght: 1}]", "loras[0].wieght: unknown field; did you mean weight?"},
      {"[{name: toy, weight: 11}]", "loras[0].weight: \"11\" is not a number from -10 to 10"},
      {"[{name: toy, weight: nan}]", "loras[0].weight: \"nan\" is not a number from -10 to 10"},
      {"[{name: toy, weight: 0}]", "loras[0].weight: 0 changes nothing: leave this LoRA out"}};
  for (const auto& [loras, message] : bad)
    EXPECT_THAT(Error(absl::StrCat(head, "loras: ", loras)), HasSubstr(message));
  const std::pair<const char*, const char*> refused[] = {
      {"[{weight: 1}]", "loras[0].name: is no LoRA's name"},
      {"[{name: ../toy}]", "loras[0].name: is no LoRA's name"},
      {"[{name: a/b}]", "loras[0].name: \"a/b\" is no LoRA's name"},
      {"[{name: a}, {name: a}]", "loras[1]: a is there already"}};
  for (const auto& [loras, message] : refused) {
    const auto parsed = Parsed(absl::StrCat(head, "loras: ", loras), "s", ".");
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_THAT(std::string(Plan::Create(*parsed).status().message()), HasSubstr(message));
  }
  v1::JobSpec many = *spec;
  for (int i = 0; i < 16; ++i) many.add_loras()->set_name(absl::StrCat("l", i));
  EXPECT_THAT(std::string(Plan::Create(many).status().message()), HasSubstr("loras: more than 16"));
}

// Its first bytes, which is all that is looked at.
std::string Png(uint32_t width, uint32_t height) {
  std::string png("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16);
  for (const uint32_t side : {width, height}) {
    for (const int shift : {24, 16, 8, 0}) png += static_cast<char>(side >> shift);
  }
  return png + "more";
}

TEST(Spec, ControlsBringAPictureEach) {
  const std::string folder = ::testing::TempDir() + "spec_controls",
                    head = "name: x\nmodel: m\nprompt: x\ncontrols: ";
  const auto put = [&](const std::string& name, const std::string& bytes) {
    ASSERT_TRUE(WriteFileAtomic(folder + "/" + name, bytes, IfPresent::kReplace).ok());
  };
  put("edges.png", Png(64, 48));
  put("empty.png", Png(0, 0));
  put("huge.png", Png(60'000, 60'000));
  put("cut.png", Png(64, 48).substr(0, 20));
  put("photo.jpg", "\xff\xd8\xff");
  const auto make = [&](const std::string& controls) -> absl::StatusOr<v1::JobSpec> {
    TS_ASSIGN_OR_RETURN(const SpecFile file, ParseSpec(head + controls, "spec.yaml", folder));
    TS_ASSIGN_OR_RETURN(const Plan plan, Plan::Create(file.spec));
    return plan.spec();
  };
  const auto spec = make(
      "[{name: canny, picture: edges.png}, "
      "{name: sd/controlnet, picture: edges.png, scale: 0.5, start: 0.1, end: 0.6}]");
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->controls(0).picture(), Png(64, 48));
  EXPECT_EQ(spec->controls(0).scale(), 1);
  EXPECT_EQ(spec->controls(0).end(), 1);
  EXPECT_EQ(spec->controls(1).scale(), 0.5);
  EXPECT_EQ(spec->controls(1).start(), 0.1);
  const auto variant = [&](const std::string& controls) { return ModelVariant(*make(controls)); };
  EXPECT_NE(variant("[{name: a, picture: edges.png}]"),
            variant("[{name: a, picture: edges.png, scale: 0.5}]"));
  EXPECT_EQ(variant("[{name: a, picture: edges.png}]"),
            variant("[{name: a, picture: edges.png, end: 0.5}]"));

  const std::pair<const char*, const char*> bad[] = {
      {"canny",
       "spec.yaml:4: controls: expected a list: [{name: canny, picture: edges.png, scale: 0.8}]"},
      {"[{name: a, image: edges.png}]", "controls[0].image: unknown field"},
      {"[{name: a, picture: nowhere.png}]", "controls[0].picture: "},
      {"[{name: a}]", "controls[0].picture: is missing"},
      {"[{name: a, picture: photo.jpg}]", "controls[0].picture: is no PNG"},
      {"[{name: a, picture: cut.png}]", "controls[0].picture: is a PNG that is damaged or cut off"},
      {"[{name: a, picture: empty.png}]",
       "controls[0].picture: is 0x0; it must be 1x1 to 16384 a side"},
      {"[{name: a, picture: huge.png}]", "controls[0].picture: is 60000x60000"},
      {"[{name: ../a, picture: edges.png}]", "controls[0].name: is no ControlNet's name"},
      {"[{name: a/.., picture: edges.png}]", "controls[0].name: is no ControlNet's name"},
      {"[{name: a/, picture: edges.png}]", "controls[0].name: is no ControlNet's name"},
      {"[{name: a/b/c, picture: edges.png}]", "controls[0].name: \"b/c\" is no ControlNet's name"},
      {"[{name: a, picture: edges.png, scale: 11}]",
       "controls[0].scale: \"11\" is not a number from 0 to 10"},
      {"[{name: a, picture: edges.png, scale: 0}]", "controls[0].scale: 0 is not above 0"},
      {"[{name: a, picture: edges.png, end: nan}]",
       "controls[0].end: \"nan\" is not a number from 0 to 1"},
      {"[{name: a, picture: edges.png, start: 0.5, end: 0.5}]",
       "controls[0]: start 0.5 and end 0.5 are no part"}};
  for (const auto& [controls, message] : bad) {
    EXPECT_THAT(std::string(make(controls).status().message()), HasSubstr(message)) << controls;
  }
  v1::JobSpec many = *spec;
  for (int i = 0; i < 3; ++i) *many.add_controls() = many.controls(0);
  EXPECT_THAT(std::string(Plan::Create(many).status().message()),
              HasSubstr("controls: more than 4"));
}

TEST(Spec, JsonIsTheSame) {
  const auto spec = Parsed(
      R"({"name": "j", "model": "diorama", "prompt": "x", "axes": {"n": [1, 2]}})", "s.json", ".");
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_THAT(spec->axes(0).list().values(), ElementsAre("1", "2"));
}

TEST(Spec, ErrorsNameLineAndPath) {
  EXPECT_EQ(Error("name: x\nrendr: {}\n"),
            "spec.yaml:2: rendr: unknown field; did you mean render?");
  EXPECT_EQ(Error("name: x\nrender:\n  stepz: 3\n"),
            "spec.yaml:3: render.stepz: unknown field; did you mean steps?");
  EXPECT_EQ(Error("render: {steps: many}"),
            "spec.yaml:1: render.steps: \"many\" is not a whole number above 0");
  EXPECT_EQ(Error("render: {steps: -1}"),
            "spec.yaml:1: render.steps: \"-1\" is not a whole number above 0");
  EXPECT_EQ(Error("render: {sampler: eular}"),
            "spec.yaml:1: render.sampler: unknown value \"eular\"; did you mean euler?");
  EXPECT_EQ(Error("name: [a]\n"), "spec.yaml:1: name: expected a single value");
  EXPECT_EQ(
      Error("axes:\n  color: red\n"),
      "spec.yaml:2: axes.color: expected a list of values, {range: 1-10} or {file: values.txt}");
  EXPECT_EQ(Error("axes:\n  color: []\n"),
            "spec.yaml:2: axes.color: an axis needs at least one value");
  EXPECT_EQ(Error("name: a\nname: b\n"), "spec.yaml:2: name: is there twice, first on line 1");
  EXPECT_EQ(Error("render:\n  steps: 3\n  width: 64\n  steps: 4\n"),
            "spec.yaml:4: render.steps: is there twice, first on line 2");
  EXPECT_EQ(Error("rendr:\n  steps: 3\n"),
            "spec.yaml:1: rendr: unknown field; did you mean render?");
  EXPECT_EQ(Error("name: &n a\nprompt: *n\n"),
            "spec.yaml:1: anchors (&name) are not used in specs; write the value out");
  EXPECT_EQ(Error("name: a\n---\nname: b\n"), "spec.yaml:3: a second document starts here");
  EXPECT_EQ(Error(""), "spec.yaml:1: is empty");
  EXPECT_THAT(Error("name: [x\n"), HasSubstr("spec.yaml:"));
  EXPECT_THAT(Error(std::string(100, '[')), HasSubstr("spec.yaml:1: "));
  EXPECT_THAT(Error("axes:\n  c: {file: none.txt}\n"),
              HasSubstr("spec.yaml:2: axes.c.file: cannot open ./none.txt"));
}

TEST(Spec, FileAxisHasAValueALine) {
  const std::string folder = ::testing::TempDir();
  ASSERT_TRUE(
      WriteFileAtomic(folder + "/values.txt", "on a desk\r\nin the snow\n\n", IfPresent::kReplace)
          .ok());
  const auto spec = Parsed("axes: {where: {file: values.txt}}", "s", folder);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_THAT(spec->axes(0).list().values(), ElementsAre("on a desk", "in the snow"));
}

TEST(Spec, FilesOfOtherEditors) {
  const std::string folder = ::testing::TempDir();
  const std::string path = folder + "/values.txt";
  ASSERT_TRUE(WriteFileAtomic(path, "\xef\xbb\xbfred\r\nblue", IfPresent::kReplace).ok());
  const std::string text = "name: n\nmodel: m\nprompt: x\naxes: {where: {file: values.txt}}";
  EXPECT_THAT(Parsed(text, "s", folder)->axes(0).list().values(), ElementsAre("red", "blue"));

  ASSERT_TRUE(WriteFileAtomic(path, "red\ncaf\xe9\n", IfPresent::kReplace).ok());
  EXPECT_EQ(Plan::Create(*Parsed(text, "s", folder)).status().message(),
            "axes.where[1]: is not UTF-8; save the file as UTF-8");
}

TEST(Spec, WhatAWorkerMustBe) {
  const auto spec = Parsed(
      "name: x\nmodel: m\nprompt: p\nreproducible: strict\nrequires: {device: cuda, memory_mb: "
      "12000}\n",
      "s", ".");
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_TRUE(spec->strict());
  EXPECT_EQ(spec->requirements().device(), "cuda");
  EXPECT_EQ(spec->requirements().memory_mb(), 12'000u);
  EXPECT_THAT(Error("reproducible: always"), HasSubstr("reproducible"));
  EXPECT_THAT(Error("requires: {gpu: 1}"), HasSubstr("requires.gpu: unknown field"));
  v1::JobSpec tpu = *spec;
  tpu.mutable_requirements()->set_device("tpu");
  EXPECT_THAT(std::string(Plan::Create(tpu).status().message()),
              HasSubstr("\"tpu\" is neither cpu nor cuda"));
}

TEST(Spec, ManyFieldsTakeNoQuadraticTime) {
  std::string text = "axes:\n";
  for (int i = 0; i < 200'000; ++i) text += "  a" + std::to_string(i) + ": [x]\n";
  const auto spec = Parsed(text, "s", ".");
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->axes_size(), 200'000);
}

TEST(Spec, TheDemoIsTwentyFourPictures) {
  const auto file = LoadSpec(std::string(TILTSHIFT_SOURCE_DIR) + "/deploy/demo/figurines.yaml");
  ASSERT_TRUE(file.ok()) << file.status();
  const auto plan = Plan::Create(file->spec);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->count(), 24u);
}

}  // namespace
}  // namespace tiltshift::plan
