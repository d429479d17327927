// A checkpoint in one file by the original names: the names as diffusers' own converters have them, the configs that
// shapes tell, and the same picture as from the same weights in diffusers' layout.
#include "engine/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "engine/model_config.h"
#include "engine/renderer.h"
#include "engine/testing/tensor_file.h"
#include "engine/testing/tiny_model.h"
#include "tests/support/folder_test.h"

namespace tiltshift::engine {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct GoldenName {
  std::string part, original, name;
};

// Made by tests/goldens/make_checkpoint_goldens.py.
std::vector<GoldenName> GoldenNames() {
  std::ifstream lines(std::string(TILTSHIFT_SOURCE_DIR) + "/tests/goldens/tiny/original_names.txt");
  std::vector<GoldenName> names;
  for (GoldenName name; lines >> name.part >> name.original >> name.name;) names.push_back(name);
  return names;
}

TEST(CheckpointNamesTest, AreThoseOfDiffusersConverters) {
  const CheckpointCounts counts = {.unet_layers = 1, .vae_levels = 2};
  const std::vector<GoldenName> names = GoldenNames();
  EXPECT_GT(names.size(), 400u);
  for (const GoldenName& golden : names) {
    const auto translated = TranslateCheckpointName(golden.original, counts);
    ASSERT_TRUE(translated.has_value()) << golden.original;
    std::string name = translated->name;
    if (golden.part == "text_encoder") name = name.substr(std::string("text_model.").size());
    const size_t third = name.find("%s");
    if (third != std::string::npos) name.replace(third, 2, 1, golden.name[third]);  // q, k or v
    EXPECT_EQ(name, golden.name) << golden.original;
  }
}

TEST(CheckpointNamesTest, LeaveOutWhatIsNotNeeded) {
  for (const char* name : {"model_ema.decay", "betas", "cond_stage_model.logit_scale", "first_stage_model.loss.logvar",
                           "cond_stage_model.transformer.text_model.embeddings.position_ids",
                           "model.diffusion_model.input_blocks.99999.0.op.weight", ""}) {
    EXPECT_FALSE(TranslateCheckpointName(name, {}).has_value()) << name;
  }
}

class CheckpointTest : public tests::FolderTest {
 protected:
  void SetUp() override {
    ASSERT_TRUE(WriteTinyModel(TILTSHIFT_SOURCE_DIR, diffusers()).ok());
    fs::create_directories(folder());
    fs::copy(diffusers() + "/tokenizer", folder() + "/tokenizer");
  }

  std::string diffusers() const { return folder_ + "/diffusers"; }
  std::string folder() const { return folder_ + "/single"; }

  // The tiny model's tensors, by their original names; `change` may alter one, or drop it by giving it no bytes.
  template <class Change>
  void WriteCheckpoint(const Change& change) {
    std::map<std::string, std::string> original_of;
    for (const GoldenName& golden : GoldenNames()) original_of[golden.part + " " + golden.name] = golden.original;
    TensorFile file;
    std::ifstream lines(std::string(TILTSHIFT_SOURCE_DIR) + "/tests/goldens/tiny/tensors.txt");
    for (std::string line; std::getline(lines, line);) {
      std::istringstream words(line);
      std::string part, name;
      words >> part >> name;
      std::vector<int64_t> shape;
      for (int64_t dim; words >> dim;) shape.push_back(dim);
      std::string bytes = TinyTensorBytes(name, shape);
      const std::string& original = original_of.at(part + " " + name);
      if (original.find("attn_1") != std::string::npos && shape.size() == 2) shape.insert(shape.end(), {1, 1});
      change(original, &bytes);
      if (!bytes.empty()) file.Add(original, "BF16", shape, bytes);
    }
    Put("checkpoint.safetensors", file.Bytes());
  }
  void WriteCheckpoint() {
    WriteCheckpoint([](const std::string&, std::string*) {});
  }
  // What the shapes of the tiny model do not tell, for they are no family's.
  void PutConfigs() {
    for (const char* part : {"unet", "vae", "text_encoder", "scheduler"}) {
      const std::string file = std::string(part) + (part == std::string("scheduler") ? "/scheduler_config.json" : "/config.json");
      fs::create_directories(folder() + "/" + part);
      fs::copy_file(diffusers() + "/" + file, folder() + "/" + file);
    }
  }
  void Put(const std::string& name, const std::string& bytes) {
    ASSERT_TRUE(WriteFileAtomic(folder() + "/" + name, bytes, IfPresent::kReplace).ok());
  }
  static std::vector<uint8_t> PictureOf(const std::string& model_folder) {
    const auto model = Model::Load(model_folder, {});
    EXPECT_TRUE(model.ok()) << model.status();
    if (!model.ok()) return {};
    Renderer renderer(*model);
    RenderRequest request;
    request.prompt = "a miniature red robot";
    request.width = request.height = 64;
    request.steps = 2;
    const auto picture = renderer.Render(request);
    EXPECT_TRUE(picture.ok()) << picture.status();
    return picture.ok() ? picture->rgb : std::vector<uint8_t>();
  }
  std::string Error() const {
    const auto model = Model::Load(folder(), {});
    return model.ok() ? "" : std::string(model.status().message());
  }
};

TEST_F(CheckpointTest, GivesThePictureOfDiffusersLayout) {
  WriteCheckpoint();
  PutConfigs();
  const std::vector<uint8_t> expected = PictureOf(diffusers());
  ASSERT_FALSE(expected.empty());
  EXPECT_EQ(PictureOf(folder()), expected);
}

// In shards with an index, as large models are saved.
TEST_F(CheckpointTest, ShardsGiveTheSamePictureAsOneFile) {
  const std::vector<uint8_t> expected = PictureOf(diffusers());
  TensorFile shards[3];
  std::string map;
  std::ifstream lines(std::string(TILTSHIFT_SOURCE_DIR) + "/tests/goldens/tiny/tensors.txt");
  int count = 0;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string part, name;
    words >> part >> name;
    std::vector<int64_t> shape;
    for (int64_t dim; words >> dim;) shape.push_back(dim);
    if (part != "unet") continue;
    shards[count % 3].Add(name, "BF16", shape, TinyTensorBytes(name, shape));
    absl::StrAppend(&map, map.empty() ? "" : ",", "\"", name, "\":\"diffusion_pytorch_model-0000", count % 3 + 1,
                    "-of-00003.safetensors\"");
    ++count;
  }
  const std::string stem = diffusers() + "/unet/diffusion_pytorch_model";
  fs::remove(stem + ".safetensors");
  for (int i = 0; i < 3; ++i) {
    const std::string path = absl::StrCat(stem, "-0000", i + 1, "-of-00003.safetensors");
    ASSERT_TRUE(WriteFileAtomic(path, shards[i].Bytes(), IfPresent::kReplace).ok());
  }
  ASSERT_TRUE(WriteFileAtomic(stem + ".safetensors.index.json", "{\"weight_map\":{" + map + "}}", IfPresent::kReplace).ok());
  EXPECT_EQ(PictureOf(diffusers()), expected);
}

TEST_F(CheckpointTest, ShapesTellTheConfigs) {
  WriteCheckpoint();
  const auto checkpoint = Checkpoint::Open(folder());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  std::string json = *checkpoint->Config("unet/config.json");
  const size_t end = json.rfind('}');
  json.replace(end, 1, ",\"norm_num_groups\":16}");
  const auto unet = ParseUNetConfig(json, "unet");
  ASSERT_TRUE(unet.ok()) << unet.status();
  EXPECT_THAT(unet->block_out_channels, ElementsAre(80, 160, 320));
  EXPECT_THAT(unet->down_attention, ElementsAre(true, true, false));
  EXPECT_THAT(unet->up_attention, ElementsAre(false, true, true));
  EXPECT_THAT(unet->layers_per_block, ElementsAre(1, 1, 1));
  EXPECT_THAT(unet->attention_heads, ElementsAre(8, 8, 8));
  EXPECT_EQ(unet->cross_attention_dim, 96);
  EXPECT_FALSE(unet->use_linear_projection);
  json = *checkpoint->Config("vae/config.json");
  json.replace(json.rfind('}'), 1, ",\"norm_num_groups\":8}");
  const auto vae = ParseVaeConfig(json, "vae");
  ASSERT_TRUE(vae.ok()) << vae.status();
  EXPECT_THAT(vae->block_out_channels, ElementsAre(16, 48));
  EXPECT_EQ(vae->layers_per_block, 1);
  EXPECT_TRUE(vae->mid_block_add_attention);
  const auto text = ParseTextEncoderConfig(*checkpoint->Config("text_encoder/config.json"), "text");
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(text->layers, 2);
  EXPECT_EQ(text->hidden_size, 96);
  EXPECT_EQ(text->intermediate_size, 160);
  EXPECT_EQ(text->vocab_size, 1214);
  EXPECT_EQ(text->activation, Activation::kQuickGelu);
}

// The skeleton of a checkpoint with an OpenCLIP text encoder, of what tells its config alone.
TensorFile Skeleton(const std::string& text, bool pooled) {
  TensorFile file;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    int64_t count = 1;
    for (const int64_t dim : shape) count *= dim;
    file.Add(name, "BF16", shape, std::string(2 * count, '\0'));
  };
  const std::string unet = "model.diffusion_model.";
  add(unet + "input_blocks.0.0.weight", {64, 4, 3, 3});
  const int widths[] = {64, 64, 128, 128};
  for (int n : {1, 2, 4, 5}) {
    add(absl::StrCat(unet, "input_blocks.", n, ".0.in_layers.0.weight"), {64});
    add(absl::StrCat(unet, "input_blocks.", n, ".0.out_layers.3.weight"), {n < 3 ? widths[0] : widths[3], 8, 3, 3});
  }
  add(unet + "input_blocks.3.0.op.weight", {64, 64, 3, 3});
  for (int n : {4, 5}) {
    add(absl::StrCat(unet, "input_blocks.", n, ".1.norm.weight"), {128});
    for (int depth : {0, 1}) {
      add(absl::StrCat(unet, "input_blocks.", n, ".1.transformer_blocks.", depth, ".norm1.weight"), {128});
    }
  }
  add(unet + "output_blocks.0.1.norm.weight", {128});
  add(unet + "middle_block.1.transformer_blocks.0.attn2.to_k.weight", {128, 64});
  add(unet + "middle_block.1.proj_in.weight", {128, 128});
  add(unet + "out.2.weight", {4, 64, 3, 3});
  if (pooled) add(unet + "label_emb.0.0.weight", {256, 32 + 6 * 256});
  add("first_stage_model.decoder.conv_in.weight", {64, 4, 3, 3});
  add("first_stage_model.decoder.up.0.block.0.conv2.weight", {32, 32, 3, 3});
  add("first_stage_model.decoder.up.0.block.1.conv2.weight", {32, 32, 3, 3});
  add("first_stage_model.decoder.up.1.block.0.conv2.weight", {64, 64, 3, 3});
  add(text + "token_embedding.weight", {100, 64});
  add(text + "positional_embedding", {77, 64});
  for (int layer : {0, 1, 2}) add(absl::StrCat(text, "transformer.resblocks.", layer, ".ln_1.weight"), {64});
  add(text + "transformer.resblocks.0.mlp.c_fc.weight", {96, 64});
  add(text + "text_projection", {64, 32});
  return file;
}

TEST_F(CheckpointTest, TextEncodersTellTheFamily) {
  Put("checkpoint.safetensors", Skeleton("cond_stage_model.model.", false).Bytes());
  auto checkpoint = Checkpoint::Open(folder());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  auto text = ParseTextEncoderConfig(*checkpoint->Config("text_encoder/config.json"), "text");
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(text->layers, 2) << "Stable Diffusion 2 leaves out the last";
  EXPECT_EQ(text->projection_dim, 0);
  EXPECT_EQ(text->activation, Activation::kGelu);
  const auto unet = ParseUNetConfig(*checkpoint->Config("unet/config.json"), "unet");
  ASSERT_TRUE(unet.ok()) << unet.status();
  EXPECT_THAT(unet->attention_heads, ElementsAre(1, 2)) << "heads of 64";
  EXPECT_THAT(unet->layers_per_block, ElementsAre(2, 2));
  EXPECT_THAT(unet->transformer_layers, ElementsAre(1, 2));
  EXPECT_TRUE(unet->use_linear_projection);
  EXPECT_EQ(unet->added_dim, 0);

  Put("checkpoint.safetensors", Skeleton("conditioner.embedders.1.model.", true).Bytes());
  checkpoint = Checkpoint::Open(folder());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  text = ParseTextEncoderConfig(*checkpoint->Config("text_encoder_2/config.json"), "text");
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(text->layers, 3);
  EXPECT_EQ(text->projection_dim, 32);
  const auto model = LoadModelConfig(folder(), [&](const std::string& name) { return checkpoint->Config(name); });
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->size_numbers, 6);
  EXPECT_FLOAT_EQ(model->vae.scaling_factor, 0.13025f);
  const auto part = checkpoint->Part(CheckpointPart::kText2);
  ASSERT_TRUE(part.ok()) << part.status();
  EXPECT_TRUE(part->Get("text_projection.weight", {32, 64}).ok()) << "transposed";
}

TEST_F(CheckpointTest, SaysWhichTensorIsMissingOrWrong) {
  const std::string middle = "model.diffusion_model.middle_block.1.proj_in.weight";
  WriteCheckpoint([&](const std::string& name, std::string* bytes) {
    if (name == middle) bytes->clear();
  });
  PutConfigs();
  EXPECT_THAT(Error(), HasSubstr("no tensor \"" + middle));

  const std::string norm = "model.diffusion_model.middle_block.0.in_layers.0.weight";
  WriteCheckpoint([&](const std::string& name, std::string* bytes) {
    if (name == norm) bytes->clear();
  });
  EXPECT_THAT(Error(), HasSubstr("mid_block.resnets.0.norm1.weight"));

  WriteCheckpoint([&](const std::string& name, std::string* bytes) {
    if (name == norm) bytes->replace(6, 2, "\x80\x7f");  // infinity
  });
  EXPECT_THAT(Error(), HasSubstr("tensor \"mid_block.resnets.0.norm1.weight\": element 3 "));

  TensorFile other;
  other.Add("transformer.h.0.weight", "BF16", {1}, "ab");
  Put("checkpoint.safetensors", other.Bytes());
  EXPECT_THAT(Error(), HasSubstr("no text encoder of Stable Diffusion"));
}

}  // namespace
}  // namespace tiltshift::engine
