// Models with LoRAs against diffusers (tests/goldens/make_lora_goldens.py): relative L2 in fp32
// below 1e-4, as in parity_test.cc. And what the set does to hash, bits and errors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/lora_merge.h"
#include "engine/pack/weight_cache.h"
#include "engine/philox.h"
#include "engine/pipeline.h"
#include "engine/testing/goldens.h"
#include "engine/testing/parity_case.h"
#include "engine/testing/tensor_file.h"
#include "engine/testing/tiny_lora.h"
#include "engine/testing/tiny_model.h"

namespace tiltshift::engine {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr double kTolerance = 1e-4;
constexpr float kForwardTimestep = 500;
constexpr size_t kTextRows = 3;  // the goldens keep every third row of the embedding
constexpr LatentSize kSize = {16, 16};
const char kPrompt[] = "a miniature red robot on a round wooden base, studio light";

std::vector<float> Golden(const std::string& file, const std::string& name) {
  const auto goldens = Goldens::Open(TILTSHIFT_SOURCE_DIR, file);
  EXPECT_TRUE(goldens.ok()) << goldens.status();
  return goldens->Floats(name);
}

struct Outputs {
  std::vector<float> text, forward;
};

class LoraTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    ASSERT_TRUE(WriteTinyModel(TILTSHIFT_SOURCE_DIR, Folder()).ok());
    for (const char* name : {"peft", "kohya", "old", "locon"}) {
      ASSERT_TRUE(WriteTinyLora(TILTSHIFT_SOURCE_DIR, name, File(name)).ok());
    }
  }
  static std::string Folder() { return ::testing::TempDir() + "lora_tiny"; }
  static std::string File(const std::string& name) {
    return absl::StrCat(Folder(), "/", name, ".safetensors");
  }
  static std::string Put(const std::string& name, const TensorFile& file) {
    EXPECT_TRUE(WriteFileAtomic(File(name), file.Bytes(), IfPresent::kReplace).ok());
    return File(name);
  }

  static absl::StatusOr<std::shared_ptr<const Model>> Load(std::vector<LoraUse> loras) {
    LoadOptions options{Precision::kFp32};
    options.loras = std::move(loras);
    return Model::Load(Folder(), options);
  }
  static Outputs Run(const std::shared_ptr<const Model>& model) {
    Outputs outputs;
    Pipeline pipeline(model);
    const auto prompt = pipeline.Encode(kPrompt);
    EXPECT_TRUE(prompt.ok()) << prompt.status();
    outputs.text = (*prompt)->embedding;
    const std::vector<float> noise = Golden("engine_tiny.safetensors", "noise");
    outputs.forward.resize(noise.size());
    EXPECT_TRUE(pipeline.Forward({kSize, kForwardTimestep, *prompt}, noise, outputs.forward).ok());
    return outputs;
  }
  static void ExpectParity(const std::string& set, std::vector<LoraUse> loras) {
    const auto model = Load(std::move(loras));
    ASSERT_TRUE(model.ok()) << model.status();
    const Outputs outputs = Run(*model);
    const size_t width = (*model)->impl().config.unet.cross_attention_dim;
    const double text_error = RelativeL2(EveryRow(outputs.text, width, kTextRows),
                                         Golden("lora.safetensors", set + ".text"));
    const double error = RelativeL2(outputs.forward, Golden("lora.safetensors", set + ".forward"));
    std::printf("  %-8s text %.2e, forward %.2e\n", set.c_str(), text_error, error);
    EXPECT_LT(text_error, kTolerance) << set;
    EXPECT_LT(error, kTolerance) << set;
  }
  static void ExpectError(std::vector<LoraUse> loras, absl::StatusCode code,
                          const std::string& message) {
    const absl::Status status = Load(std::move(loras)).status();
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(Message(status), HasSubstr(message));
  }
};

TEST_F(LoraTest, EverySpellingIsLikeDiffusers) {
  ExpectParity("peft", {{File("peft"), 1.0}});
  ExpectParity("kohya", {{File("kohya"), 0.8}});
  ExpectParity("old", {{File("old"), -0.5}});
  ExpectParity("several", {{File("peft"), 0.6}, {File("kohya"), -0.4}});
  ExpectParity("locon", {{File("locon"), 0.7}});
}

// Two text encoders, and kohya's names of the original's blocks.
TEST_F(LoraTest, SdxlIsLikeDiffusers) {
  const auto cases = ReadParityCases(TILTSHIFT_SOURCE_DIR);
  ASSERT_TRUE(cases.ok()) << cases.status();
  const auto parity = std::find_if(cases->begin(), cases->end(),
                                   [](const ParityCase& c) { return c.name == "sdxl"; });
  ASSERT_NE(parity, cases->end());
  const std::string folder = ::testing::TempDir() + "lora_sdxl",
                    file = folder + "/sdxl.safetensors";
  ASSERT_TRUE(WriteParityModel(TILTSHIFT_SOURCE_DIR, *parity, folder).ok());
  ASSERT_TRUE(WriteTinyLora(TILTSHIFT_SOURCE_DIR, "sdxl", file).ok());
  LoadOptions options{Precision::kFp32};
  options.loras = {{file, 0.8}};
  const auto model = Model::Load(folder, options);
  ASSERT_TRUE(model.ok()) << model.status();

  Pipeline pipeline(*model);
  const auto prompt = pipeline.Encode(parity->prompts[0]);
  ASSERT_TRUE(prompt.ok()) << prompt.status();
  const LatentSize size = {parity->height / 8, parity->width / 8};
  std::vector<float> noise(pipeline.LatentFloats(size)), forward(noise.size());
  FillNormal(parity->seed, 0, noise);
  ASSERT_TRUE(pipeline.Forward({size, kForwardTimestep, *prompt}, noise, forward).ok());
  const size_t width = (*model)->impl().config.unet.cross_attention_dim;
  EXPECT_LT(RelativeL2(EveryRow((*prompt)->embedding, width, kTextRows),
                       Golden("lora.safetensors", "sdxl.text")),
            kTolerance);
  EXPECT_LT(RelativeL2((*prompt)->pooled, Golden("lora.safetensors", "sdxl.pooled")), kTolerance);
  const double error = RelativeL2(forward, Golden("lora.safetensors", "sdxl.forward"));
  std::printf("  sdxl     forward %.2e\n", error);
  EXPECT_LT(error, kTolerance);
}

TEST_F(LoraTest, ASetHasItsOwnHashAndItsBitsDoNotFollowTheOrder) {
  const auto plain = Load({});
  const auto one = Load({{File("kohya"), 0.8}, {File("old"), 1.0}});
  const auto turned = Load({{File("old"), 1.0}, {File("kohya"), 0.8}});
  const auto other = Load({{File("old"), 1.0}, {File("kohya"), 0.81}});
  for (const auto* model : {&plain, &one, &turned, &other})
    ASSERT_TRUE(model->ok()) << model->status();
  EXPECT_EQ((*one)->hash(), (*turned)->hash());
  EXPECT_NE((*one)->hash(), (*plain)->hash());
  EXPECT_NE((*one)->hash(), (*other)->hash());
  EXPECT_THAT((*one)->render_class(), HasSubstr((*one)->hash().substr(0, 12)));
  const Outputs first = Run(*one), second = Run(*turned);
  EXPECT_EQ(first.forward, second.forward);
  EXPECT_EQ(first.text, second.text);
  EXPECT_NE(first.forward, Run(*other).forward);
}

TEST_F(LoraTest, WeightZeroChangesNothing) {
  const auto plain = Load({}), zero = Load({{File("peft"), 0.0}});
  ASSERT_TRUE(zero.ok()) << zero.status();
  EXPECT_EQ(Run(*plain).forward, Run(*zero).forward);
}

// Pages of the model's files come and go; what is merged lies elsewhere.
TEST_F(LoraTest, MergedWeightsOutliveTheFilesPages) {
  for (const Precision precision : {Precision::kFp32, Precision::kAuto}) {
    LoadOptions options{precision};
    options.loras = {{File("kohya"), 0.8}, {File("locon"), 0.7}};
    const auto model = Model::Load(Folder(), options), fresh = Model::Load(Folder(), options);
    ASSERT_TRUE(model.ok() && fresh.ok()) << model.status();
    const auto render = [](const std::shared_ptr<const Model>& by, const char* prompt, int width) {
      const auto picture = Renderer(by).Render({.prompt = prompt, .width = width, .height = 64, .steps = 2});
      EXPECT_TRUE(picture.ok()) << picture.status();
      return picture.ok() ? picture->rgb : std::vector<uint8_t>();
    };
    render(*model, "a red robot", 64);
    const Model::Impl& impl = (*model)->impl();
    for (const Weights* weights : {&impl.unet->weights(), &impl.vae->weights(), &impl.texts[0].encoder->weights()}) {
      for (const auto& file : weights->files()) MappedFile::Release(file->bytes());
    }
    EXPECT_EQ(render(*model, "a blue cat", 96), render(*fresh, "a blue cat", 96));
  }
}

// The base model's pack serves what a LoRA leaves alone.
TEST_F(LoraTest, WithAWeightCacheTheSameBits) {
  const std::string cache = Folder() + "/cache";
  for (const Precision precision : {Precision::kFp32, Precision::kAuto}) {
    LoadOptions options{precision};
    const auto base = Model::Load(Folder(), options);
    options.loras = {{File("kohya"), 0.8}};
    const auto without = Model::Load(Folder(), options);
    options.weight_cache = std::make_shared<WeightCache>(WeightCacheOptions{.folder = cache, .keep_free = 0});
    const auto before_base = Model::Load(Folder(), options);
    options.loras.clear();
    ASSERT_TRUE(Model::Load(Folder(), options).ok());  // packs
    options.loras = {{File("kohya"), 0.8}};
    const auto with = Model::Load(Folder(), options);
    ASSERT_TRUE(base.ok() && without.ok() && before_base.ok() && with.ok()) << with.status();
    const Outputs expected = Run(*without);
    EXPECT_NE(Run(*base).forward, expected.forward);
    for (const auto& model : {*before_base, *with}) {
      EXPECT_EQ(model->hash(), (*without)->hash());
      EXPECT_EQ(Run(model).forward, expected.forward);
      EXPECT_EQ(Run(model).text, expected.text);
    }
  }
}

TEST_F(LoraTest, AnotherBaseModelsLayersAreNamed) {
  TensorFile file;
  file.AddFloats("unet.conv_in.lora_A.weight", {1, 4, 3, 3}, std::vector<float>(36, 1.0f));
  file.AddFloats("unet.conv_in.lora_B.weight", {320, 1, 1, 1}, std::vector<float>(320, 1.0f));
  file.AddFloats("lora_unet_nothing_here.lora_down.weight", {1, 4}, std::vector<float>(4, 1.0f));
  file.AddFloats("lora_unet_nothing_here.lora_up.weight", {4, 1}, std::vector<float>(4, 1.0f));
  const std::string path = Put("foreign", file);
  ExpectError({{path, 1}}, absl::StatusCode::kInvalidArgument,
              path + ": 2 of its 2 layers do not fit " + Folder() +
                  ": no layer \"lora_unet_nothing_here\"; \"unet.conv_in\" is [80, 4, 3, 3], not "
                  "up [320, 1, 1, 1] "
                  "times down [1, 4, 3, 3]. It was made for another base model");

  TensorFile many;
  for (int i = 0; i < 14; ++i) {
    many.AddFloats(absl::StrCat("unet.x", i, ".lora_A.weight"), {1, 1}, {1});
    many.AddFloats(absl::StrCat("unet.x", i, ".lora_B.weight"), {1, 1}, {1});
  }
  ExpectError({{Put("many", many), 1}}, absl::StatusCode::kInvalidArgument,
              "; and 4 more. It was made");
}

TEST_F(LoraTest, WeightsAndSetsThatCannotBe) {
  for (const double weight : {10.5, -11.0, std::nan("")}) {
    ExpectError({{File("old"), weight}}, absl::StatusCode::kInvalidArgument,
                "is outside -10 to 10");
  }
  ExpectError({{File("gone"), 1}}, absl::StatusCode::kNotFound, "gone.safetensors");
  ASSERT_TRUE(WriteTinyLora(TILTSHIFT_SOURCE_DIR, "old", File("copy")).ok());
  ExpectError({{File("old"), 1}, {File("copy"), 1}}, absl::StatusCode::kInvalidArgument,
              "are the same LoRA; name it once");
  TensorFile huge;
  huge.AddFloats("unet.conv_in.lora_A.weight", {1, 4, 3, 3}, std::vector<float>(36, 3e38f));
  huge.AddFloats("unet.conv_in.lora_B.weight", {80, 1, 1, 1}, std::vector<float>(80, 10.0f));
  ExpectError({{Put("huge", huge), 1}}, absl::StatusCode::kInvalidArgument,
              "tensor \"conv_in.weight\" passes the range of fp32");
}

}  // namespace
}  // namespace tiltshift::engine
