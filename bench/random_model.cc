#include "bench/random_model.h"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

#include "absl/strings/str_join.h"
#include "base/file.h"

namespace tiltshift::engine {
namespace {

struct Tensor {
  std::string name;
  std::vector<int64_t> shape;
};
using Tensors = std::vector<Tensor>;

void AddAffine(Tensors* list, const std::string& name, std::vector<int64_t> weight, bool bias = true) {
  const int64_t out = weight[0];
  list->push_back({name + ".weight", std::move(weight)});
  if (bias) list->push_back({name + ".bias", {out}});
}

void AddResnet(Tensors* list, const std::string& name, int64_t in, int64_t out, int64_t time) {
  AddAffine(list, name + ".norm1", {in});
  AddAffine(list, name + ".conv1", {out, in, 3, 3});
  if (time > 0) AddAffine(list, name + ".time_emb_proj", {out, time});
  AddAffine(list, name + ".norm2", {out});
  AddAffine(list, name + ".conv2", {out, out, 3, 3});
  if (in != out) AddAffine(list, name + ".conv_shortcut", {out, in, 1, 1});
}

void AddTransformer(Tensors* list, const std::string& name, int64_t c, int64_t text) {
  AddAffine(list, name + ".norm", {c});
  AddAffine(list, name + ".proj_in", {c, c, 1, 1});
  const std::string block = name + ".transformer_blocks.0";
  for (const char* norm : {".norm1", ".norm2", ".norm3"}) AddAffine(list, block + norm, {c});
  for (const auto& [attention, keys] : {std::pair{".attn1", c}, {".attn2", text}}) {
    AddAffine(list, block + attention + ".to_q", {c, c}, false);
    AddAffine(list, block + attention + ".to_k", {c, keys}, false);
    AddAffine(list, block + attention + ".to_v", {c, keys}, false);
    AddAffine(list, block + attention + ".to_out.0", {c, c});
  }
  AddAffine(list, block + ".ff.net.0.proj", {8 * c, c});
  AddAffine(list, block + ".ff.net.2", {c, 4 * c});
  AddAffine(list, name + ".proj_out", {c, c, 1, 1});
}

Tensors Unet() {
  constexpr int64_t kChannels[] = {320, 640, 1280, 1280}, kTime = 1280, kText = 768;
  Tensors list;
  AddAffine(&list, "conv_in", {320, 4, 3, 3});
  AddAffine(&list, "time_embedding.linear_1", {kTime, 320});
  AddAffine(&list, "time_embedding.linear_2", {kTime, kTime});
  std::vector<int64_t> skips = {320};
  int64_t in = 320;
  const auto layer = [&](const std::string& block, int i, int64_t from, int64_t out, bool attends) {
    AddResnet(&list, absl::StrCat(block, ".resnets.", i), from, out, kTime);
    if (attends) AddTransformer(&list, absl::StrCat(block, ".attentions.", i), out, kText);
    in = out;
  };
  for (int level = 0; level < 4; ++level) {
    const std::string block = absl::StrCat("down_blocks.", level);
    for (int i = 0; i < 2; ++i) {
      layer(block, i, in, kChannels[level], level < 3);
      skips.push_back(in);
    }
    if (level == 3) continue;
    AddAffine(&list, block + ".downsamplers.0.conv", {in, in, 3, 3});
    skips.push_back(in);
  }
  layer("mid_block", 0, in, in, true);
  layer("mid_block", 1, in, in, false);
  for (int up = 0; up < 4; ++up) {
    const std::string block = absl::StrCat("up_blocks.", up);
    for (int i = 0; i < 3; ++i) {
      layer(block, i, in + skips.back(), kChannels[3 - up], up > 0);
      skips.pop_back();
    }
    if (up < 3) AddAffine(&list, block + ".upsamplers.0.conv", {in, in, 3, 3});
  }
  AddAffine(&list, "conv_norm_out", {320});
  AddAffine(&list, "conv_out", {4, 320, 3, 3});
  return list;
}

Tensors VaeDecoder() {
  constexpr int64_t kChannels[] = {512, 512, 256, 128};
  Tensors list;
  AddAffine(&list, "post_quant_conv", {4, 4, 1, 1});
  AddAffine(&list, "decoder.conv_in", {512, 4, 3, 3});
  AddResnet(&list, "decoder.mid_block.resnets.0", 512, 512, 0);
  AddAffine(&list, "decoder.mid_block.attentions.0.group_norm", {512});
  for (const char* part : {"to_q", "to_k", "to_v", "to_out.0"}) {
    AddAffine(&list, absl::StrCat("decoder.mid_block.attentions.0.", part), {512, 512});
  }
  AddResnet(&list, "decoder.mid_block.resnets.1", 512, 512, 0);
  int64_t in = 512;
  for (int up = 0; up < 4; ++up) {
    const std::string block = absl::StrCat("decoder.up_blocks.", up);
    for (int i = 0; i < 3; ++i, in = kChannels[up]) {
      AddResnet(&list, absl::StrCat(block, ".resnets.", i), in, kChannels[up], 0);
    }
    if (up < 3) AddAffine(&list, block + ".upsamplers.0.conv", {in, in, 3, 3});
  }
  AddAffine(&list, "decoder.conv_norm_out", {128});
  AddAffine(&list, "decoder.conv_out", {3, 128, 3, 3});
  return list;
}

Tensors TextEncoder() {
  constexpr int64_t kHidden = 768;
  Tensors list = {{"text_model.embeddings.token_embedding.weight", {49408, kHidden}},
                  {"text_model.embeddings.position_embedding.weight", {77, kHidden}}};
  for (int i = 0; i < 12; ++i) {
    const std::string layer = absl::StrCat("text_model.encoder.layers.", i);
    for (const char* part : {"q", "k", "v", "out"}) {
      AddAffine(&list, absl::StrCat(layer, ".self_attn.", part, "_proj"), {kHidden, kHidden});
    }
    AddAffine(&list, layer + ".layer_norm1", {kHidden});
    AddAffine(&list, layer + ".layer_norm2", {kHidden});
    AddAffine(&list, layer + ".mlp.fc1", {4 * kHidden, kHidden});
    AddAffine(&list, layer + ".mlp.fc2", {kHidden, 4 * kHidden});
  }
  AddAffine(&list, "text_model.final_layer_norm", {kHidden});
  return list;
}

int64_t Elements(const Tensor& tensor) {
  int64_t count = 1;
  for (const int64_t dim : tensor.shape) count *= dim;
  return count;
}

// The bits of whole * 2^exponent in fp16, for |whole| < 128.
uint16_t Half(int whole, int exponent) {
  if (whole == 0) return 0;
  const int size = std::abs(whole);
  int top = 0;
  while (size >> (top + 1) != 0) ++top;
  const int fraction = (size << (10 - top)) & 0x3ff;
  return static_cast<uint16_t>((whole < 0 ? 0x8000 : 0) | (top + exponent + 15) << 10 | fraction);
}

// Uniform, with a deviation of about 1 / sqrt(inputs), so that activations keep their size; a norm's scale is 1.
void Fill(const Tensor& tensor, uint64_t* state, std::vector<uint16_t>* halves) {
  const int64_t count = Elements(tensor);
  halves->resize(count);
  if (tensor.shape.size() == 1) {
    const bool scale = tensor.name.ends_with("weight");
    std::fill(halves->begin(), halves->end(), scale ? 0x3c00 : 0);
    return;
  }
  const double inputs = static_cast<double>(count) / static_cast<double>(tensor.shape[0]);
  const int exponent = static_cast<int>(std::floor(std::log2(std::sqrt(3 / inputs) / 127)));
  uint16_t table[256];
  for (int i = 0; i < 256; ++i) table[i] = Half(i == 0 ? 0 : i - 128, std::max(exponent, -14));
  for (int64_t i = 0; i < count; i += 8) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    for (int64_t j = i; j < std::min(count, i + 8); ++j) (*halves)[j] = table[*state >> 8 * (j - i) & 255];
  }
}

absl::Status Write(const std::string& path, const Tensors& tensors, bool zeros) {
  std::string header = "{";
  int64_t at = 0;
  for (const Tensor& tensor : tensors) {
    const int64_t bytes = 2 * Elements(tensor);
    absl::StrAppend(&header, at > 0 ? "," : "", "\"", tensor.name, "\":{\"dtype\":\"F16\",\"shape\":[",
                    absl::StrJoin(tensor.shape, ","), "],\"data_offsets\":[", at, ",", at + bytes, "]}");
    at += bytes;
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  std::ofstream file(path, std::ios::binary);
  const uint64_t length = header.size();
  file.write(reinterpret_cast<const char*>(&length), sizeof(length));
  file.write(header.data(), static_cast<std::streamsize>(header.size()));
  if (zeros) {
    file.close();
    std::filesystem::resize_file(path, sizeof(length) + length + at);
    return absl::OkStatus();
  }
  uint64_t state = 0x9e3779b97f4a7c15;
  std::vector<uint16_t> halves;
  for (const Tensor& tensor : tensors) {
    Fill(tensor, &state, &halves);
    file.write(reinterpret_cast<const char*>(halves.data()), static_cast<std::streamsize>(2 * halves.size()));
  }
  file.close();
  if (!file) return absl::UnavailableError(absl::StrCat("cannot write ", path, "; is the disk full?"));
  return absl::OkStatus();
}

constexpr std::pair<const char*, const char*> kConfigs[] = {
    {"text_encoder/config.json",
     R"({"architectures": ["CLIPTextModel"], "hidden_act": "quick_gelu", "hidden_size": 768,
 "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 12, "vocab_size": 49408})"},
    {"unet/config.json",
     R"({"_class_name": "UNet2DConditionModel", "attention_head_dim": 8, "cross_attention_dim": 768})"},
    {"vae/config.json",
     R"({"_class_name": "AutoencoderKL", "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2,
 "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"]})"},
    {"model_index.json",
     R"({"_class_name": "StableDiffusionPipeline", "scheduler": ["diffusers", "DDIMScheduler"],
 "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
 "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]})"},
    {"scheduler/scheduler_config.json",
     R"({"_class_name": "DDIMScheduler", "beta_end": 0.012, "beta_schedule": "scaled_linear",
 "beta_start": 0.00085, "clip_sample": false, "set_alpha_to_one": false, "steps_offset": 1})"},
};

}  // namespace

absl::Status WriteSd15(const RandomModelOptions& options) {
  const std::string done = options.folder + "/model_index.json";
  if (std::filesystem::exists(done)) return absl::OkStatus();
  for (const char* part : {"text_encoder", "tokenizer", "unet", "vae", "scheduler"}) {
    TS_RETURN_IF_ERROR(MakeFolders(absl::StrCat(options.folder, "/", part)));
  }
  for (const char* name : {"vocab.json", "merges.txt"}) {
    const std::string path = absl::StrCat("/tokenizer/", name);
    TS_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(options.source_dir + "/models/diorama" + path));
    TS_RETURN_IF_ERROR(WriteFileAtomic(options.folder + path, bytes, IfPresent::kReplace).status());
  }
  const std::string diffusers = "/diffusion_pytorch_model.safetensors";
  TS_RETURN_IF_ERROR(Write(options.folder + "/unet" + diffusers, Unet(), options.zeros));
  TS_RETURN_IF_ERROR(Write(options.folder + "/vae" + diffusers, VaeDecoder(), options.zeros));
  TS_RETURN_IF_ERROR(Write(options.folder + "/text_encoder/model.safetensors", TextEncoder(), options.zeros));
  for (const auto& [name, text] : kConfigs) {
    if (options.folder + "/" + name == done) continue;
    TS_RETURN_IF_ERROR(WriteFileAtomic(absl::StrCat(options.folder, "/", name), text, IfPresent::kReplace).status());
  }
  for (const auto& [name, text] : kConfigs) {  // last, for it tells that all is there
    if (options.folder + "/" + name != done) continue;
    TS_RETURN_IF_ERROR(WriteFileAtomic(done, text, IfPresent::kReplace).status());
  }
  return absl::OkStatus();
}

}  // namespace tiltshift::engine
