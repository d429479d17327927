#include "engine/weights.h"

#include <cstring>
#include <filesystem>
#include <set>
#include <utility>

#include "absl/strings/str_join.h"
#include "base/check.h"
#include "engine/json_text.h"
#include "nlohmann/json.hpp"

namespace tiltshift::engine {
namespace {

using nlohmann::json;

bool Exists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

absl::Status NoWeights(const std::string& folder, const std::string& stem) {
  const std::string wanted = absl::StrCat(stem, ".safetensors");
  std::string hint;
  if (Exists(absl::StrCat(folder, "/", stem, ".bin")) || Exists(folder + "/pytorch_model.bin")) {
    hint = "; .bin weights can run code when loaded and are not read: convert them to safetensors";
  }
  return absl::NotFoundError(absl::StrCat("no weights in ", folder, ": looked for ", wanted,
                                          " and ", wanted, ".index.json, and for their variants fp16 and bf16", hint));
}

// tensor -> file, from the index.
absl::StatusOr<std::map<std::string, std::string>> ReadIndex(const std::string& path) {
  TS_ASSIGN_OR_RETURN(const json index, ReadJsonObject(path));
  const auto map = index.find("weight_map");
  if (map == index.end() || !map->is_object()) {
    return absl::DataLossError(absl::StrCat(path, ": no object weight_map"));
  }
  std::map<std::string, std::string> shard_of;
  for (const auto& [tensor, file] : map->items()) {
    // A name alone: an index must not reach out of its folder.
    if (!file.is_string() || file.get_ref<const std::string&>().find('/') != std::string::npos ||
        !file.get_ref<const std::string&>().ends_with(".safetensors")) {
      return absl::DataLossError(
          absl::StrCat(path, ": weight_map of ", Quoted(tensor),
                       " must be the name of a .safetensors file beside it"));
    }
    shard_of[tensor] = file.get<std::string>();
  }
  return shard_of;
}

}  // namespace

absl::StatusOr<Weights> Weights::Open(const std::string& folder, const std::string& stem) {
  // diffusers' variants: the same weights, saved as halves beside the others or alone.
  for (const char* variant : {"", ".fp16", ".bf16"}) {
    const std::string single = absl::StrCat(folder, "/", stem, variant, ".safetensors");
    if (Exists(single)) return OpenOne(folder, single);
    const std::string index = absl::StrCat(folder, "/", stem, ".safetensors.index", variant, ".json");
    if (Exists(index)) return OpenShards(folder, index);
  }
  return NoWeights(folder, stem);
}

absl::StatusOr<Weights> Weights::OpenOne(const std::string& folder, const std::string& path) {
  Weights weights;
  weights.where_ = folder;
  TS_ASSIGN_OR_RETURN(auto file, MappedFile::Open(path));
  TS_ASSIGN_OR_RETURN(weights.tensors_, ParseSafetensors(file.bytes(), path));
  for (auto& [name, view] : weights.tensors_) view.mapped = true;
  weights.files_.push_back(std::make_shared<const MappedFile>(std::move(file)));
  return weights;
}

absl::StatusOr<Weights> Weights::OpenShards(const std::string& folder, const std::string& index) {
  Weights weights;
  weights.where_ = folder;
  TS_ASSIGN_OR_RETURN(const auto shard_of, ReadIndex(index));
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : shard_of) shards.insert(shard);
  for (const std::string& shard : shards) {
    const std::string path = absl::StrCat(folder, "/", shard);
    TS_ASSIGN_OR_RETURN(auto file, MappedFile::Open(path));
    TS_ASSIGN_OR_RETURN(auto tensors, ParseSafetensors(file.bytes(), path));
    for (auto& [name, view] : tensors) {
      const auto listed = shard_of.find(name);
      if (listed == shard_of.end() || listed->second != shard) {
        return absl::DataLossError(absl::StrCat(path, ": holds tensor ", Quoted(name), ", which ",
                                                index, " does not place there"));
      }
      view.mapped = true;
      weights.tensors_.emplace(name, std::move(view));
    }
    weights.files_.push_back(std::make_shared<const MappedFile>(std::move(file)));
  }
  for (const auto& [tensor, shard] : shard_of) {
    if (weights.tensors_.contains(tensor)) continue;
    return absl::DataLossError(absl::StrCat(index, ": tensor ", Quoted(tensor), " is not in ",
                                            shard, " as the index says"));
  }
  return weights;
}

absl::StatusOr<Weights> Weights::OpenRenamed(const std::string& path, const Rename& rename) {
  Weights weights;
  weights.where_ = path;
  TS_ASSIGN_OR_RETURN(auto file, MappedFile::Open(path));
  TS_ASSIGN_OR_RETURN(const TensorMap tensors, ParseSafetensors(file.bytes(), path));
  for (const auto& [original, found] : tensors) {
    const std::optional<CheckpointName> name = rename(original);
    if (!name) continue;
    TensorView view = found;
    view.mapped = true;
    const absl::Status added = weights.AddRenamed(view, *name);
    if (!added.ok()) {
      return absl::DataLossError(absl::StrCat(path, ": tensor ", Quoted(original), " of [",
                                              absl::StrJoin(view.shape, ", "), "]: ", std::string(added.message())));
    }
  }
  weights.files_.push_back(std::make_shared<const MappedFile>(std::move(file)));
  return weights;
}

absl::Status Weights::AddRenamed(const TensorView& view, const CheckpointName& name) {
  const auto put = [&](const std::string& as, TensorView form) {
    if (tensors_.emplace(as, std::move(form)).second) return absl::OkStatus();
    return absl::DataLossError(absl::StrCat("another tensor is ", Quoted(as), " as well"));
  };
  TensorView form = view;
  switch (name.form) {
    case CheckpointForm::kSame: break;
    case CheckpointForm::kMatrix:
      if (form.shape.size() == 4 && form.shape[2] == 1 && form.shape[3] == 1) form.shape.resize(2);
      break;
    case CheckpointForm::kThirds: {
      if (form.shape.empty() || form.shape[0] % 3 != 0) {
        return absl::DataLossError("its rows are to be those of q, k and v, and are no three equal parts");
      }
      form.shape[0] /= 3;
      const size_t bytes = view.bytes.size() / 3, at = name.name.find("%s");
      for (int i = 0; i < 3; ++i) {
        form.bytes = view.bytes.substr(i * bytes, bytes);
        TS_RETURN_IF_ERROR(put(std::string(name.name).replace(at, 2, 1, "qkv"[i]), form));
      }
      return absl::OkStatus();
    }
    case CheckpointForm::kTransposed: {
      if (form.shape.size() != 2) return absl::DataLossError("it is to be a matrix");
      const int64_t rows = form.shape[0], columns = form.shape[1], bytes = DtypeBytes(form.dtype);
      std::string& turned = transposed_.emplace_back(view.bytes.size(), '\0');
      for (int64_t i = 0; i < rows * columns; ++i) {
        std::memcpy(&turned[(i % columns * rows + i / columns) * bytes], &view.bytes[i * bytes], bytes);
      }
      form.shape = {columns, rows};
      form.bytes = turned;
      form.mapped = false;
      break;
    }
  }
  return put(name.name, std::move(form));
}

absl::StatusOr<TensorView> Weights::Get(std::string_view name,
                                        std::span<const int64_t> shape) const {
  const TensorView* view = Find(name);
  if (view == nullptr) {
    return absl::NotFoundError(absl::StrCat(where_, ": the weights have no tensor ", Quoted(name),
                                            ", which config.json asks for"));
  }
  if (!std::equal(shape.begin(), shape.end(), view->shape.begin(), view->shape.end())) {
    return absl::DataLossError(
        absl::StrCat(where_, ": tensor ", Quoted(name), " is [", absl::StrJoin(view->shape, ", "),
                     "] where config.json makes it [", absl::StrJoin(shape, ", "), "]"));
  }
  return *view;
}

void Weights::Replace(std::string_view name, std::span<const float> values, Dtype dtype) {
  const auto at = tensors_.find(name);
  TS_CHECK(at != tensors_.end());
  TS_CHECK(at->second.elements() == static_cast<int64_t>(values.size()));
  TS_CHECK(dtype == Dtype::kF32 || dtype == Dtype::kBf16);
  std::string& owned = replaced_.emplace_back(values.size() * DtypeBytes(dtype), '\0');
  if (dtype == Dtype::kF32) {
    std::memcpy(owned.data(), values.data(), owned.size());
  } else {
    for (size_t i = 0; i < values.size(); ++i) {
      const uint16_t half = FloatToBfloat16(values[i]);
      std::memcpy(&owned[2 * i], &half, sizeof(half));
    }
  }
  at->second.dtype = dtype;
  at->second.mapped = false;
  at->second.changed = true;
  at->second.bytes = owned;
}

const TensorView* Weights::Find(std::string_view name) const {
  const auto at = tensors_.find(name);
  return at == tensors_.end() ? nullptr : &at->second;
}

}  // namespace tiltshift::engine
