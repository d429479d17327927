// A whole model directory, damaged in each of its parts: one readable error that names the file.
#include "engine/model_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>

#include "base/file.h"
#include "nlohmann/json.hpp"
#include "tests/support/folder_test.h"

namespace tiltshift::engine {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::string Safetensors(const std::string& header, const std::string& data) {
  std::string bytes(8, '\0');
  bytes[0] = static_cast<char>(header.size());
  return bytes.append(header).append(data);
}

class ModelFilesTest : public tests::FolderTest {
 protected:
  void SetUp() override {
    fs::remove_all(folder_);
    Put("model_index.json", R"({"_class_name":"StableDiffusionPipeline",
      "scheduler":["diffusers","DDIMScheduler"],"text_encoder":["transformers","CLIPTextModel"],
      "tokenizer":["transformers","CLIPTokenizer"],"unet":["diffusers","UNet2DConditionModel"],
      "vae":["diffusers","AutoencoderKL"]})");
    Put("scheduler/scheduler_config.json", R"({"clip_sample":false})");
    Put("text_encoder/config.json", R"({"vocab_size":1300,"hidden_size":64})");
    Put("unet/config.json", R"({"block_out_channels":[32,64],"cross_attention_dim":64,
      "down_block_types":["CrossAttnDownBlock2D","DownBlock2D"],
      "up_block_types":["UpBlock2D","CrossAttnUpBlock2D"]})");
    Put("vae/config.json", R"({"block_out_channels":[32,32,32,32],"up_block_types":
      ["UpDecoderBlock2D","UpDecoderBlock2D","UpDecoderBlock2D","UpDecoderBlock2D"],"down_block_types":
      ["DownEncoderBlock2D","DownEncoderBlock2D","DownEncoderBlock2D","DownEncoderBlock2D"]})");
    fs::create_directories(folder_ + "/tokenizer");
    for (const char* name : {"vocab.json", "merges.txt"}) {
      fs::copy(std::string(TILTSHIFT_SOURCE_DIR "/engine/testdata/tokenizer/") + name,
               folder_ + "/tokenizer/" + name);
    }
    for (const char* name : kWeights) Put(name, kGoodWeights);
  }

  void Put(const std::string& name, const std::string& bytes) {
    ASSERT_TRUE(WriteFileAtomic(folder_ + "/" + name, bytes, IfPresent::kReplace).ok());
  }
  absl::Status Open() { return OpenModelFiles(folder_).status(); }
  std::string Hash() {
    const auto files = OpenModelFiles(folder_);
    EXPECT_TRUE(files.ok()) << files.status();
    return files.ok() ? files->hash : "";
  }
  void ExpectError(absl::StatusCode code, const std::string& message) {
    EXPECT_EQ(Open().code(), code) << Open();
    EXPECT_THAT(std::string(Open().message()), HasSubstr(message));
  }

  static constexpr const char* kWeights[] = {"text_encoder/model.safetensors",
                                             "unet/diffusion_pytorch_model.safetensors",
                                             "vae/diffusion_pytorch_model.safetensors"};
  const std::string kGoodWeights =
      Safetensors(R"({"w":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}})", "data");
};

TEST_F(ModelFilesTest, Opens) {
  const auto files = OpenModelFiles(folder_);
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->config.size_multiple(), 8);
  EXPECT_EQ(files->texts[0].tokenizer.length(), 77);
  EXPECT_TRUE(files->unet.Get("w", {2}).ok());
  EXPECT_EQ(files->hash.size(), 64u);
}

TEST_F(ModelFilesTest, EveryMissingFileIsNamed) {
  const std::vector<std::string> names = {
      "model_index.json",         "scheduler/scheduler_config.json",
      "text_encoder/config.json", "unet/config.json",
      "vae/config.json",          "tokenizer/vocab.json",
      "tokenizer/merges.txt"};
  for (const std::string& name : names) {
    SetUp();
    fs::remove(folder_ + "/" + name);
    ExpectError(absl::StatusCode::kNotFound, folder_ + "/" + name + ": No such file");
  }
  for (const std::string name : kWeights) {
    SetUp();
    fs::remove(folder_ + "/" + name);
    ExpectError(absl::StatusCode::kNotFound, "no weights in " + folder_ + "/" +
                                                 name.substr(0, name.find('/')) + ": looked for ");
  }
  fs::remove_all(folder_);
  ExpectError(absl::StatusCode::kNotFound, "no model directory " + folder_);
}

// transformers 5 saves tokenizer.json alone; what is in it is the model's as well.
TEST_F(ModelFilesTest, ATokenizerMayBeOneFile) {
  const auto read = [&](const std::string& name) { return nlohmann::json::parse(*ReadFile(name)); };
  nlohmann::json whole = read(TILTSHIFT_SOURCE_DIR "/engine/testdata/tokenizer_saved.json")["plain"]["tokenizer.json"];
  whole["model"]["vocab"] = read(folder_ + "/tokenizer/vocab.json");
  const std::string of_two = Hash();
  Put("tokenizer/tokenizer.json", whole.dump());
  EXPECT_EQ(Hash(), of_two) << "not read beside the two";
  fs::remove(folder_ + "/tokenizer/merges.txt");
  const auto files = OpenModelFiles(folder_);
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->texts[0].tokenizer.vocab_size(), 1214);
  const std::string before = Hash();
  Put("tokenizer/tokenizer.json", whole.dump(1));
  EXPECT_NE(Hash(), before);
}

TEST_F(ModelFilesTest, EveryDamagedFileIsNamed) {
  for (const std::string name : kWeights) {
    SetUp();
    Put(name, kGoodWeights.substr(0, kGoodWeights.size() - 1));
    ExpectError(absl::StatusCode::kDataLoss,
                folder_ + "/" + name +
                    ": tensor \"w\": its data ends at byte 4, the file has 3 bytes "
                    "of data: it is truncated; the file is damaged: fetch it again");
    Put(name, "");
    ExpectError(absl::StatusCode::kDataLoss, folder_ + "/" + name + ": only 0 bytes long");
    Put(name, Safetensors(R"({"w":{"dtype":"F16","shape":[3],"data_offsets":[0,4]}})", "data"));
    ExpectError(absl::StatusCode::kDataLoss, "F16 [3] takes 6 bytes, data_offsets give it 4");
  }
  for (const std::string name : {"model_index.json", "unet/config.json", "tokenizer/vocab.json"}) {
    SetUp();
    Put(name, "{\"half\":");
    ExpectError(absl::StatusCode::kDataLoss, folder_ + "/" + name + ": not valid JSON");
  }
}

TEST_F(ModelFilesTest, TokenizerAndTextEncoderMustFit) {
  Put("text_encoder/config.json", R"({"vocab_size":1000,"hidden_size":64})");
  ExpectError(
      absl::StatusCode::kInvalidArgument,
      "tokenizer has ids up to 1213, text_encoder/config.json: vocab_size is 1000");
  Put("text_encoder/config.json",
      R"({"vocab_size":1300,"hidden_size":64,"max_position_embeddings":32})");
  ExpectError(absl::StatusCode::kInvalidArgument,
              "model_max_length is 77, text_encoder/config.json: max_position_embeddings is 32");
}

TEST_F(ModelFilesTest, TheHashIsOfEveryFile) {
  const std::string before = Hash();
  EXPECT_EQ(Hash(), before);
  const std::function<void()> changes[] = {
      [&] { Put("scheduler/scheduler_config.json", R"({"clip_sample":false })"); },
      [&] { Put("tokenizer/tokenizer_config.json", "{}"); },
      [&] {
        Put("vae/diffusion_pytorch_model.safetensors",
            kGoodWeights.substr(0, kGoodWeights.size() - 1) + "b");
      },
      [&] { Put("model_index.json", *ReadFile(folder_ + "/model_index.json") + "\n"); },
  };
  for (const auto& change : changes) {
    SetUp();
    change();
    EXPECT_NE(Hash(), before);
  }
}

}  // namespace
}  // namespace tiltshift::engine
