// Stable Diffusion 2, XL and XL's refiner: the same weights in diffusers' layout and in one file by
// the original names make the same picture, to the bit.
//
// The names and the forms were put through diffusers' own converters, with these weights, by
// tests/goldens/make_checkpoint_goldens.py.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "absl/strings/str_replace.h"
#include "base/file.h"
#include "engine/checkpoint.h"
#include "engine/renderer.h"
#include "engine/testing/parity_case.h"
#include "engine/testing/tensor_file.h"
#include "engine/testing/tiny_model.h"

namespace tiltshift::engine {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct Tensor {
  std::vector<int64_t> shape;
  std::string bytes;
};
using Tensors = std::map<std::string, Tensor>;

std::ifstream Lines(const std::string& part, const std::string& file) {
  return std::ifstream(
      absl::StrCat(TILTSHIFT_SOURCE_DIR, "/tests/goldens/parity/parts/", part, "/", file));
}

// A part's tensors by diffusers' names.
Tensors DiffusersTensors(const std::string& part) {
  Tensors tensors;
  std::ifstream lines = Lines(part, "tensors.txt");
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string name;
    words >> name;
    Tensor tensor;
    for (int64_t dim; words >> dim;) tensor.shape.push_back(dim);
    tensor.bytes = TinyTensorBytes(name, tensor.shape);
    tensors.emplace(name, std::move(tensor));
  }
  return tensors;
}

Tensor Transposed(const Tensor& from) {
  const int64_t rows = from.shape[0], columns = from.shape[1];
  Tensor to = {{columns, rows}, std::string(from.bytes.size(), '\0')};
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      for (int64_t byte : {0, 1})
        to.bytes[2 * (j * rows + i) + byte] = from.bytes[2 * (i * columns + j) + byte];
    }
  }
  return to;
}

// Adds a part's tensors by the original names.
void AddOriginals(const std::string& part, Tensors* originals) {
  const Tensors tensors = DiffusersTensors(part);
  std::ifstream lines = Lines(part, "original_names.txt");
  size_t found = 0;
  for (std::string original, form, name; lines >> original >> form >> name; ++found) {
    Tensor tensor = tensors.at(name);
    Tensor& to = (*originals)[original];
    const size_t third = std::string("qkv").find(form);
    if (third != std::string::npos) {
      const size_t bytes = tensor.bytes.size();
      to.shape = tensor.shape;
      to.shape[0] *= 3;
      to.bytes.resize(3 * bytes);
      to.bytes.replace(third * bytes, bytes, tensor.bytes);
    } else {
      if (form == "matrix") tensor.shape.insert(tensor.shape.end(), {1, 1});
      to = form == "transposed" ? Transposed(tensor) : tensor;
    }
  }
  ASSERT_GT(found, 0u) << part;
  ASSERT_EQ(found, tensors.size()) << part;
}

// The refiner's only text encoder is the first there, and is called so.
Tensors AsTheFirst(const Tensors& originals) {
  Tensors named;
  for (const auto& [name, tensor] : originals)
    named[absl::StrReplaceAll(name, {{"embedders.1.", "embedders.0."}})] = tensor;
  return named;
}

// What lies in a file of Stable Diffusion 2 and is not to be used: a last layer, behind the one
// that the UNet is conditioned on, and the projection to compare with pictures.
void AddUnused(Tensors* originals) {
  const std::string text = "cond_stage_model.model.", layer = text + "transformer.resblocks.";
  Tensors more;
  for (const auto& [name, tensor] : *originals) {
    if (!name.starts_with(layer + "2.")) continue;
    const std::string last = layer + "3." + name.substr(layer.size() + 2);
    more[last] = {tensor.shape, TinyTensorBytes(last, tensor.shape)};
  }
  ASSERT_EQ(more.size(), 12u);
  more[text + "text_projection"] = {{64, 64}, TinyTensorBytes("text_projection", {64, 64})};
  more[text + "logit_scale"] = {{}, "\x80\x3f"};
  originals->merge(more);
}

// Every family's head sizes, groups and size numbers are the same, so no shape tells them; those of
// the tests' small models are others.
void PutUntold(const std::string& told, const std::string& of_part, const std::string& path) {
  json config = json::parse(told);
  const json small = json::parse(Lines(of_part, "config.json"));
  for (const char* field : {"norm_num_groups", "num_attention_heads", "addition_time_embed_dim"}) {
    if (small.contains(field) && !small[field].is_null()) config[field] = small[field];
  }
  ASSERT_TRUE(WriteFileAtomic(path, config.dump(), IfPresent::kReplace).ok());
}

struct Rendered {
  std::vector<float> latents;  // after each step
  std::vector<uint8_t> picture;
};

Rendered Render(const std::string& folder) {
  Rendered rendered;
  const auto model = Model::Load(folder, {Precision::kFp32});
  EXPECT_TRUE(model.ok()) << model.status();
  if (!model.ok()) return rendered;
  Renderer renderer(*model);
  RenderRequest request;
  request.prompt = "a miniature red robot";
  request.width = request.height = 64;
  request.steps = 2;
  const auto keep = [&](int, std::span<const float> latent) {
    rendered.latents.insert(rendered.latents.end(), latent.begin(), latent.end());
  };
  const auto picture = renderer.Render(request, {.after_step = keep});
  EXPECT_TRUE(picture.ok()) << picture.status();
  if (picture.ok()) rendered.picture = picture->rgb;
  return rendered;
}

struct Family {
  const char* parity_case;
  bool noise_beside;  // a scheduler_config.json that says what no shape does: v-prediction
};

class CheckpointFamily : public ::testing::TestWithParam<Family> {
 protected:
  void SetUp() override {
    fs::remove_all(root_);
    const auto cases = ReadParityCases(TILTSHIFT_SOURCE_DIR);
    ASSERT_TRUE(cases.ok()) << cases.status();
    const auto at = std::ranges::find(*cases, GetParam().parity_case, &ParityCase::name);
    ASSERT_NE(at, cases->end());
    parity_ = *at;
    ASSERT_TRUE(WriteParityModel(TILTSHIFT_SOURCE_DIR, parity_, diffusers_).ok());
  }
  void TearDown() override { fs::remove_all(root_); }

  // What no such file holds, and what it doesn't tell.
  void PutWhatLiesBeside() {
    const auto checkpoint = Checkpoint::Open(single_);
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    for (const auto& [part, name] : Parts()) {
      const auto told = checkpoint->Config(part + "/config.json");
      ASSERT_TRUE(told.has_value()) << part;
      PutUntold(*told, name, absl::StrCat(single_, "/", part, "/config.json"));
    }
    for (const char* folder : {"/tokenizer", "/tokenizer_2"}) {
      if (fs::exists(diffusers_ + folder)) fs::copy(diffusers_ + folder, single_ + folder);
    }
    if (GetParam().noise_beside) fs::copy(diffusers_ + "/scheduler", single_ + "/scheduler");
  }

  // The parts' folders, and what is in them.
  std::map<std::string, std::string> Parts() const {
    std::map<std::string, std::string> parts;
    for (const char* part : {"unet", "vae", "text_encoder", "text_encoder_2"}) {
      if (parity_.model.contains(part)) parts[part] = parity_.model[part];
    }
    return parts;
  }

  const std::string root_ =
      absl::StrCat(::testing::TempDir(), "checkpoint_families_test_", GetParam().parity_case);
  const std::string diffusers_ = root_ + "/diffusers", single_ = root_ + "/single";
  ParityCase parity_;
};

TEST_P(CheckpointFamily, GivesThePictureOfDiffusersLayout) {
  Tensors originals;
  for (const auto& [part, name] : Parts()) AddOriginals(name, &originals);
  if (!parity_.model.contains("text_encoder_2")) AddUnused(&originals);
  if (!parity_.model.contains("text_encoder")) originals = AsTheFirst(originals);
  TensorFile file;
  for (const auto& [name, tensor] : originals) file.Add(name, "BF16", tensor.shape, tensor.bytes);
  ASSERT_TRUE(WriteFileAtomic(absl::StrCat(single_, "/", kCheckpointFile), file.Bytes(),
                              IfPresent::kReplace)
                  .ok());
  PutWhatLiesBeside();
  if (HasFatalFailure()) return;

  const Rendered expected = Render(diffusers_), rendered = Render(single_);
  ASSERT_EQ(expected.picture.size(), 64u * 64 * 3);
  EXPECT_EQ(rendered.latents, expected.latents);
  EXPECT_EQ(rendered.picture, expected.picture);
}

INSTANTIATE_TEST_SUITE_P(Families, CheckpointFamily,
                         ::testing::Values(Family{"sd2_v", true}, Family{"sdxl", false},
                                           Family{"image_refiner", false}),
                         [](const auto& info) { return info.param.parity_case; });

}  // namespace
}  // namespace tiltshift::engine
