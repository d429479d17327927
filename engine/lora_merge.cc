#include "engine/lora_merge.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <thread>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/check.h"
#include "base/hash.h"
#include "engine/json_text.h"

namespace tiltshift::engine {
namespace {

constexpr size_t kMostNamed = 10;

struct OpenLora {
  LoraFile file;
  std::string name;  // for messages
  std::string hash;
  double weight = 1;
};

// What is added to one tensor, in the order of the sum.
struct Addition {
  const LoraLayer* layer = nullptr;
  float scale = 1;
};
struct Merge {
  LoraTarget target;
  std::vector<Addition> additions;
};
using Merges = std::map<const TensorView*, Merge>;

std::vector<float> Floats(const TensorView& view) {
  std::vector<float> floats(view.elements());
  TS_CHECK(CopyAsFloat(view, floats).ok());
  return floats;
}

// sum[0..count) += factor * row[0..count), in this order for every count: a vector's lanes are
// independent.
void AddScaled(float factor, const float* row, int64_t count, float* sum) {
  for (int64_t i = 0; i < count; ++i) sum[i] += factor * row[i];
}

// down [rank, columns] with mid [rank of up, rank, kernel] in one: [rank of up, in * kernel].
std::vector<float> DownWithMid(const LoraLayer& layer, const std::vector<float>& down) {
  const std::vector<float> mid = Floats(layer.mid);
  const int64_t outer = layer.mid.shape[0], rank = layer.rank(), in = layer.down.shape[1];
  const int64_t kernel = layer.mid.shape[2] * layer.mid.shape[3];
  std::vector<float> both(outer * in * kernel);
  for (int64_t a = 0; a < outer; ++a) {
    for (int64_t b = 0; b < rank; ++b) {
      for (int64_t i = 0; i < in; ++i) {
        AddScaled(down[b * in + i], &mid[(a * rank + b) * kernel], kernel,
                  &both[(a * in + i) * kernel]);
      }
    }
  }
  return both;
}

// weight [rows, columns] += scale * up [rows, rank] @ down [rank, columns].
void AddProduct(const Addition& addition, int64_t rows, std::vector<float>& weight) {
  const std::vector<float> up = Floats(addition.layer->up);
  std::vector<float> down = Floats(addition.layer->down);
  if (!addition.layer->mid.shape.empty()) down = DownWithMid(*addition.layer, down);
  const int64_t rank = addition.layer->up.shape[1];
  const int64_t columns = static_cast<int64_t>(weight.size()) / rows;
  std::vector<float> row(columns);
  for (int64_t o = 0; o < rows; ++o) {
    std::fill(row.begin(), row.end(), 0.0f);
    for (int64_t r = 0; r < rank; ++r)
      AddScaled(up[o * rank + r], &down[r * columns], columns, row.data());
    AddScaled(addition.scale, row.data(), columns, &weight[o * columns]);
  }
}

// Whether the product has the tensor's shape, the kernel's dimensions included.
bool Fits(const LoraLayer& layer, const TensorView& tensor) {
  const auto dimension = [](const TensorView& view, size_t i) {
    return i < view.shape.size() ? view.shape[i] : 1;
  };
  const TensorView& kernel = layer.mid.shape.empty() ? layer.down : layer.mid;
  return dimension(layer.up, 0) == dimension(tensor, 0) &&
         dimension(layer.down, 1) == dimension(tensor, 1) &&
         dimension(kernel, 2) == dimension(tensor, 2) &&
         dimension(kernel, 3) == dimension(tensor, 3);
}

std::string ShapeText(const TensorView& view) {
  return absl::StrCat("[", absl::StrJoin(view.shape, ", "), "]");
}

absl::StatusOr<std::vector<OpenLora>> OpenAll(std::span<const LoraUse> loras) {
  std::vector<OpenLora> open;
  for (const LoraUse& use : loras) {
    if (!(std::abs(use.weight) <= kMostLoraWeight)) {
      return absl::InvalidArgumentError(absl::StrCat(use.file, ": weight ", use.weight,
                                                     " is outside -", kMostLoraWeight, " to ",
                                                     kMostLoraWeight));
    }
    TS_ASSIGN_OR_RETURN(LoraFile file, LoraFile::Open(use.file));
    const std::string hash = Sha256Hex(file.bytes());
    open.push_back({std::move(file), use.file, hash, use.weight});
  }
  std::sort(open.begin(), open.end(),
            [](const OpenLora& a, const OpenLora& b) { return a.hash < b.hash; });
  const auto twice =
      std::adjacent_find(open.begin(), open.end(),
                         [](const OpenLora& a, const OpenLora& b) { return a.hash == b.hash; });
  if (twice == open.end()) return open;
  return absl::InvalidArgumentError(
      absl::StrCat(twice->name, " and ", (twice + 1)->name,
                   " are the same LoRA; name it once, with the sum of the weights"));
}

absl::StatusOr<std::vector<float>> Merged(const Merge& merge) {
  const TensorView& tensor = *merge.target.view;
  std::vector<float> weight(tensor.elements());
  TS_RETURN_IF_ERROR(CopyAsFloat(tensor, weight));
  for (const Addition& addition : merge.additions) AddProduct(addition, tensor.shape[0], weight);
  if (std::all_of(weight.begin(), weight.end(), [](float value) { return std::isfinite(value); }))
    return weight;
  return absl::InvalidArgumentError(absl::StrCat("tensor ", Quoted(merge.target.tensor),
                                                 " passes the range of fp32 with these LoRAs; use "
                                                 "smaller weights, or fetch their files again"));
}

// The UNet's time layers and the text encoders compute in fp32 also where the rest does in bf16.
Dtype StoredAs(const LoraTarget& target, Compute compute) {
  const bool small = target.component != "unet" || target.tensor.find("time_emb") != std::string::npos ||
                     target.tensor.starts_with("add_embedding");
  return compute == Compute::kBf16 && !small ? Dtype::kBf16 : Dtype::kF32;
}

// Tensors are independent of one another, so the threads change no bit.
absl::Status MergeAll(const std::vector<const Merge*>& merges, Compute compute,
                      const std::map<std::string, Weights*>& components) {
  std::vector<absl::StatusOr<std::vector<float>>> merged(merges.size());
  std::atomic<size_t> next = 0;
  const auto work = [&] {
    for (size_t i = next++; i < merges.size(); i = next++) merged[i] = Merged(*merges[i]);
  };
  std::vector<std::thread> threads;
  for (unsigned i = 1; i < std::thread::hardware_concurrency(); ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < merges.size(); ++i) {
    TS_RETURN_IF_ERROR(merged[i].status());
    const LoraTarget& target = merges[i]->target;
    components.at(target.component)->Replace(target.tensor, *merged[i], StoredAs(target, compute));
    merged[i] = std::vector<float>();
  }
  return absl::OkStatus();
}

std::string HashWith(const std::string& model, const std::vector<OpenLora>& loras) {
  Sha256 hash;
  hash.Update(model);
  for (const OpenLora& lora : loras)
    hash.Update(absl::StrFormat("\nlora %s %.17g", lora.hash, lora.weight));
  return hash.Hex();
}

}  // namespace

absl::Status CheckLoraFits(const LoraFile& file, const std::string& lora,
                           const std::map<std::string, LoraTarget>& targets,
                           const std::string& model) {
  std::vector<std::string> strangers;
  for (const auto& [name, layer] : file.layers()) {
    const auto target = targets.find(name);
    if (target == targets.end()) {
      strangers.push_back(absl::StrCat("no layer ", Quoted(name)));
    } else if (!Fits(layer, *target->second.view)) {
      strangers.push_back(absl::StrCat(Quoted(name), " is ", ShapeText(*target->second.view),
                                       ", not up ", ShapeText(layer.up), " times down ",
                                       ShapeText(layer.down)));
    }
  }
  if (strangers.empty()) return absl::OkStatus();
  const size_t count = strangers.size();
  const size_t more = count - std::min(count, kMostNamed);
  strangers.resize(count - more);
  return absl::InvalidArgumentError(absl::StrCat(
      lora, ": ", count, " of its ", file.layers().size(), " layers do not fit ", model, ": ",
      absl::StrJoin(strangers, "; "), more > 0 ? absl::StrCat("; and ", more, " more") : "",
      ". It was made for another base model: use it with that one"));
}

absl::Status MergeLoras(std::span<const LoraUse> loras, const std::string& model, Compute compute,
                        ModelFiles* files) {
  if (loras.empty()) return absl::OkStatus();
  TS_ASSIGN_OR_RETURN(const std::vector<OpenLora> open, OpenAll(loras));
  std::map<std::string, Weights*> components = {{"unet", &files->unet}};
  for (size_t i = 0; i < files->texts.size(); ++i)
    components["text_encoder" + files->config.index.text_suffixes[i]] = &files->texts[i].weights;
  const auto targets = LoraTargets({components.begin(), components.end()}, files->config.unet);
  Merges merges;
  for (const OpenLora& lora : open) {
    TS_RETURN_IF_ERROR(CheckLoraFits(lora.file, lora.name, targets, model));
    for (const auto& [name, layer] : lora.file.layers()) {
      const LoraTarget& target = targets.at(name);
      Merge& merge = merges[target.view];
      merge.target = target;
      merge.additions.push_back({&layer, static_cast<float>(lora.weight * layer.scale)});
    }
  }
  std::vector<const Merge*> all;
  for (const auto& [tensor, merge] : merges) all.push_back(&merge);
  TS_RETURN_IF_ERROR(MergeAll(all, compute, components));
  files->hash = HashWith(files->hash, open);
  return absl::OkStatus();
}

}  // namespace tiltshift::engine
