// `tiltshift models` over copies of the built-in model, each damaged in one way: what is wrong is
// named, with what to do, and exit codes tell which.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "engine/testing/tensor_file.h"
#include "tests/support/folder_test.h"
#include "tests/support/process.h"

namespace tiltshift {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using tests::Process;
using tests::Program;

constexpr int kLongMs = 60'000;
constexpr char kUNet[] = "unet/diffusion_pytorch_model.safetensors";

struct Result {
  int code;
  std::string output, errors;
};

class ModelsCommandTest : public tests::FolderTest {
 protected:
  void SetUp() override {
    models_ = folder_ + "/models";
    Copy("good");
  }

  void Copy(const std::string& name) {
    fs::create_directories(models_);
    fs::copy(std::string(TILTSHIFT_SOURCE_DIR) + "/models/diorama", models_ + "/" + name,
             fs::copy_options::recursive);
  }
  // A copy of the model, one of whose files is changed.
  void Damage(const std::string& name, const std::string& file,
              const std::function<void(std::string&)>& change) {
    Copy(name);
    const std::string path = absl::StrCat(models_, "/", name, "/", file);
    std::string bytes = *ReadFile(path);
    change(bytes);
    ASSERT_TRUE(WriteFileAtomic(path, bytes, IfPresent::kReplace).ok());
  }
  void DamageText(const std::string& name, const std::string& file, const std::string& from,
                  const std::string& to) {
    Damage(name, file, [&](std::string& bytes) {
      const size_t at = bytes.find(from);
      ASSERT_NE(at, std::string::npos);
      bytes.replace(at, from.size(), to);
    });
  }
  Result Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {Program("tiltshift"), "models", "--models", models_});
    Process process(arguments, folder_);
    const int code = process.Wait(kLongMs);
    return {code, process.Output(), process.Errors()};
  }
  // The only model's description.
  nlohmann::json Describe(const std::string& name) {
    const auto json = nlohmann::json::parse(Run({name, "--json"}).output);
    EXPECT_EQ(json["models"].size(), 1u);
    return json["models"][0];
  }
  void ExpectProblem(const std::string& name, const std::string& problem,
                     const std::string& advice) {
    const Result result = Run({name});
    EXPECT_EQ(result.code, 5) << name << result.errors;
    EXPECT_THAT(result.output, HasSubstr(name)) << result.errors;
    EXPECT_THAT(result.output, HasSubstr("NOT USABLE: ")) << result.errors;
    const nlohmann::json json = Describe(name);
    EXPECT_EQ(json["usable"], false);
    EXPECT_THAT(std::string(json["problem"]), HasSubstr(problem));
    EXPECT_THAT(std::string(json["advice"]), HasSubstr(advice));
  }

  std::string models_;
};

TEST_F(ModelsCommandTest, AGoodModelIsExplained) {
  const Result result = Run({});
  ASSERT_EQ(result.code, 0) << result.errors;
  EXPECT_THAT(result.output,
              HasSubstr("text to image, 4 latent channels of 1/8, v-prediction, text 128 wide"));
  EXPECT_THAT(result.output, HasSubstr("made for 256x256, sizes are multiples of"));
  const nlohmann::json json = Describe("good");
  EXPECT_EQ(json["usable"], true);
  EXPECT_EQ(std::string(json["hash"]).size(), 64u);
  EXPECT_THAT(std::string(json["render_class"]),
              HasSubstr(std::string(json["hash"]).substr(0, 12)));
  EXPECT_EQ(json["parts"].size(), 3u);
  uint64_t parameters = 0, bytes = 0;
  for (const auto& part : json["parts"]) {
    EXPECT_EQ(part["dtypes"], "F16");
    parameters += std::stoull(std::string(part["parameters"]));
    bytes += std::stoull(std::string(part["weight_bytes"]));
  }
  EXPECT_EQ(json["parameters"], std::to_string(parameters));
  EXPECT_EQ(json["weight_bytes"], std::to_string(bytes));
  uint64_t on_disk = 0;
  for (const auto& entry : fs::recursive_directory_iterator(models_)) {
    if (entry.path().extension() == ".safetensors") on_disk += entry.file_size();
  }
  EXPECT_EQ(bytes, on_disk);
}

TEST_F(ModelsCommandTest, DamagedWeightsNameTheTensor) {
  Damage("truncated", kUNet, [](std::string& bytes) { bytes.resize(bytes.size() - 100); });
  ExpectProblem("truncated", std::string(kUNet) + ": tensor ", "fetch that part again");
  ExpectProblem("truncated", "it is truncated", "");

  DamageText("missing", kUNet, "\"conv_in.bias\"", "\"conv_xx.bias\"");
  ExpectProblem("missing", "missing/unet: the weights have no tensor \"conv_in.bias\"",
                "copy the model's whole folder");

  DamageText("shape", kUNet, "[64,4,3,3]", "[4,64,3,3]");
  ExpectProblem("shape",
                "shape/unet: tensor \"conv_in.weight\" is [4, 64, 3, 3] where config.json makes it "
                "[64, 4, 3, 3]",
                "both must be of one model");

  // 0x7e00 is a NaN; the file ends with its last tensor's last number.
  Damage("nan", kUNet, [](std::string& bytes) {
    bytes.replace(bytes.size() - 2, 2, std::string("\x00\x7e", 2));
  });
  ExpectProblem("nan", "is NaN or infinite", "fetch that part again");
}

TEST_F(ModelsCommandTest, IncompleteAndForeignModelsNameTheFileOrField) {
  Copy("no_vae");
  fs::remove_all(models_ + "/no_vae/vae");
  ExpectProblem("no_vae", "no_vae/vae/config.json: No such file", "copy the model's whole folder");

  Copy("no_index");
  fs::remove(models_ + "/no_index/model_index.json");
  ExpectProblem("no_index", "no_index/model_index.json: No such file",
                "copy the model's whole folder");

  DamageText("foreign", "model_index.json", "UNet2DConditionModel", "FluxTransformer2DModel");
  ExpectProblem("foreign", "foreign/model_index.json: unet is \"FluxTransformer2DModel\"",
                "docs/models.md");

  DamageText("field", "unet/config.json", "\"sample_size\": 32", "\"sample_size\": \"big\"");
  ExpectProblem("field", "field/unet/config.json: sample_size is \"big\"", "configs again");
}

TEST_F(ModelsCommandTest, AListGoesOnPastDamageAndANameDoesNot) {
  DamageText("bad", "model_index.json", "UNet2DConditionModel", "Other");
  const Result all = Run({});
  EXPECT_EQ(all.code, 0) << all.errors;
  EXPECT_THAT(all.output, HasSubstr("NOT USABLE"));
  EXPECT_THAT(all.output, HasSubstr("text to image"));
  EXPECT_EQ(Run({"good"}).code, 0);
  EXPECT_EQ(Run({"bad"}).code, 5);
  EXPECT_EQ(Run({"good", "bad"}).code, 5);

  const Result unknown = Run({"gone"});
  EXPECT_EQ(unknown.code, 2);
  EXPECT_THAT(unknown.errors,
              HasSubstr("there is no gone in " + models_ + "; known are: bad, good"));
  models_ += "/nowhere";
  const Result empty = Run({});
  EXPECT_EQ(empty.code, 2);
  EXPECT_THAT(empty.errors, HasSubstr("no models in " + models_));
}

// As they are fetched: one file with a name of its own, beside the models or in a folder.
TEST_F(ModelsCommandTest, ACheckpointWhereNothingLooksIsSeen) {
  fs::create_directories(models_ + "/pruned");
  for (const char* file : {"/dreamshaper_8.safetensors", "/pruned/v1-5.safetensors"})
    ASSERT_TRUE(WriteFileAtomic(models_ + file, "x", IfPresent::kReplace).ok());
  const std::string alone =
      "dreamshaper_8.safetensors lies where nothing looks: a checkpoint in one file belongs to "
      "dreamshaper_8/checkpoint.safetensors, beside its tokenizer/";
  const Result all = Run({});
  EXPECT_EQ(all.code, 0) << all.errors;
  EXPECT_THAT(all.output, HasSubstr(alone));
  EXPECT_THAT(all.output, HasSubstr("pruned/v1-5.safetensors lies where nothing looks: a checkpoint in one file belongs "
                                    "to pruned/checkpoint.safetensors"));
  EXPECT_THAT(Run({"dreamshaper_8"}).errors, HasSubstr("known are: good; " + alone));
  EXPECT_THAT(Run({"pruned"}).errors, HasSubstr("; pruned/v1-5.safetensors lies where nothing looks"));
  fs::remove_all(models_ + "/good");
  EXPECT_THAT(Run({}).errors, HasSubstr("no models in " + models_));
  EXPECT_THAT(Run({}).errors, HasSubstr(alone));
}

TEST_F(ModelsCommandTest, LorasAreCheckedAndSayWhichModelsTheyFit) {
  const auto put = [&](const std::string& name, int64_t channels) {
    engine::TensorFile file;
    file.AddFloats("lora_unet_conv_in.lora_down.weight", {2, 4, 3, 3},
                   std::vector<float>(72, 1.0f));
    file.AddFloats("lora_unet_conv_in.lora_up.weight", {channels, 2, 1, 1},
                   std::vector<float>(2 * channels, 1.0f));
    const std::string path = absl::StrCat(models_, "/loras/", name, ".safetensors");
    EXPECT_TRUE(WriteFileAtomic(path, file.Bytes(), IfPresent::kReplace).ok());
    return file.Bytes();
  };
  put("fits", 64);
  put("foreign", 320);
  const std::string damaged = put("damaged", 64);
  ASSERT_TRUE(WriteFileAtomic(models_ + "/loras/damaged.safetensors", damaged.substr(0, 500),
                              IfPresent::kReplace)
                  .ok());

  const Result result = Run({});
  EXPECT_EQ(result.code, 0) << result.errors;
  EXPECT_THAT(result.output, HasSubstr("LoRAs in " + models_ + "/loras:"));
  EXPECT_THAT(result.output, HasSubstr("1 layer of unet, rank 2, "));
  EXPECT_THAT(result.output, HasSubstr("bytes; fits good"));
  EXPECT_THAT(result.output, HasSubstr("fits none of the models here"));
  const auto loras = nlohmann::json::parse(Run({"--json"}).output)["loras"];
  ASSERT_EQ(loras.size(), 3u);
  EXPECT_EQ(loras[0]["usable"], false);
  EXPECT_THAT(std::string(loras[0]["problem"]), HasSubstr("damaged.safetensors: tensor "));
  EXPECT_EQ(loras[1]["fits"], nlohmann::json{"good"});
  EXPECT_EQ(loras[2]["fits"].size(), 0u);
}

}  // namespace
}  // namespace tiltshift
