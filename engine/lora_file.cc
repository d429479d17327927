#include "engine/lora_file.h"

#include <cmath>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/str_join.h"
#include "engine/finite.h"
#include "engine/json_text.h"
#include "engine/lora_keys.h"
#include "engine/peft_settings.h"

namespace tiltshift::engine {
namespace {

constexpr double kMostAlpha = 1e6;

// The layers while they are put together from the file's tensors.
struct Parts {
  std::optional<TensorView> down, up, mid, alpha;
};

std::string Shape(const TensorView& view) {
  return absl::StrCat("[", absl::StrJoin(view.shape, ", "), "]");
}

absl::StatusOr<std::map<std::string, Parts>> Sort(const TensorMap& tensors) {
  std::map<std::string, Parts> layers;
  std::vector<std::string> strangers;
  for (const auto& [name, view] : tensors) {
    TS_ASSIGN_OR_RETURN(const std::optional<LoraKey> key, ParseLoraKey(name));
    if (!key) {
      strangers.push_back(Quoted(name));
      continue;
    }
    Parts& parts = layers[key->layer];
    std::optional<TensorView>& slot = key->factor == LoraFactor::kDown  ? parts.down
                                      : key->factor == LoraFactor::kUp  ? parts.up
                                      : key->factor == LoraFactor::kMid ? parts.mid
                                                                        : parts.alpha;
    if (slot) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", Quoted(name),
                       " gives a factor that the file has already, in another spelling"));
    }
    slot = view;
  }
  if (!strangers.empty()) {
    const size_t more = strangers.size() - std::min<size_t>(strangers.size(), 5);
    strangers.resize(strangers.size() - more);
    return absl::InvalidArgumentError(absl::StrCat(
        "tensors of no LoRA: ", absl::StrJoin(strangers, ", "),
        more > 0 ? absl::StrCat(" and ", more, " more") : "",
        "; a LoRA's end in lora_A.weight, lora.down.weight or lora_down.weight and their like"));
  }
  if (layers.empty()) return absl::InvalidArgumentError("holds no tensors");
  return layers;
}

absl::Status CheckFactor(const std::string& layer, const char* factor, const TensorView& view) {
  const std::string what = absl::StrCat(layer, ": ", factor, " ");
  if (view.dtype != Dtype::kF16 && view.dtype != Dtype::kBf16 && view.dtype != Dtype::kF32) {
    return absl::DataLossError(absl::StrCat(what, "has dtype ", std::string(DtypeName(view.dtype)),
                                            "; it must be F16, BF16 or F32"));
  }
  if (view.shape.size() != 2 && view.shape.size() != 4) {
    return absl::DataLossError(
        absl::StrCat(what, "is ", Shape(view), "; it must have 2 or 4 dimensions"));
  }
  if (view.elements() == 0)
    return absl::DataLossError(absl::StrCat(what, "is ", Shape(view), ": empty"));
  if (const auto bad = FirstNotFinite(view)) {
    return absl::DataLossError(
        absl::StrCat(what, Shape(view), ": element ", *bad,
                     " is NaN or infinite; the file is damaged: fetch it again"));
  }
  return absl::OkStatus();
}

bool IsPointwise(const TensorView& view) {
  return view.shape.size() == 2 || (view.shape[2] == 1 && view.shape[3] == 1);
}

// The factors against one another.
absl::Status CheckRanks(const std::string& layer, const LoraLayer& factors) {
  const auto mismatch = [&](const TensorView& other, const char* name) {
    return absl::DataLossError(absl::StrCat(layer, ": down is ", Shape(factors.down), " and ", name,
                                            " ", Shape(other), ": their ranks differ"));
  };
  if (!IsPointwise(factors.up)) {
    return absl::DataLossError(
        absl::StrCat(layer, ": up is ", Shape(factors.up), "; its kernel must be 1x1"));
  }
  if (factors.mid.shape.empty()) {
    return factors.up.shape[1] == factors.rank() ? absl::OkStatus() : mismatch(factors.up, "up");
  }
  if (factors.mid.shape.size() != 4 || factors.mid.shape[1] != factors.rank() ||
      !IsPointwise(factors.down))
    return mismatch(factors.mid, "mid");
  return factors.up.shape[1] == factors.mid.shape[0] ? absl::OkStatus()
                                                     : mismatch(factors.up, "up");
}

// A float, or as diffusers' convert_state_dict_to_kohya writes it a whole number.
std::optional<float> Alpha(const TensorView& view) {
  if (view.elements() != 1) return std::nullopt;
  if (view.dtype == Dtype::kI64) {
    int64_t whole;
    std::memcpy(&whole, view.bytes.data(), sizeof whole);
    return static_cast<float>(whole);
  }
  float alpha = 0;
  return CopyAsFloat(view, {&alpha, 1}).ok() ? std::optional(alpha) : std::nullopt;
}

absl::StatusOr<float> ReadAlpha(const std::string& layer, const TensorView& view) {
  const std::optional<float> alpha = Alpha(view);
  if (!alpha || !(std::abs(*alpha) <= kMostAlpha)) {
    return absl::DataLossError(absl::StrCat(layer, ": alpha (", std::string(DtypeName(view.dtype)),
                                            " ", Shape(view), ") is no number of at most ",
                                            kMostAlpha));
  }
  return *alpha;
}

absl::StatusOr<LoraLayer> Assemble(const std::string& layer, const Parts& parts,
                                   const PeftSettings& settings) {
  if (!parts.down || !parts.up) {
    return absl::DataLossError(absl::StrCat(layer, ": has no factor ",
                                            parts.down ? "up (lora_B)" : "down (lora_A)",
                                            "; the file is incomplete"));
  }
  LoraLayer factors{*parts.down, *parts.up, parts.mid.value_or(TensorView{}), 1};
  TS_RETURN_IF_ERROR(CheckFactor(layer, "down", factors.down));
  TS_RETURN_IF_ERROR(CheckFactor(layer, "up", factors.up));
  if (parts.mid) TS_RETURN_IF_ERROR(CheckFactor(layer, "mid", factors.mid));
  TS_RETURN_IF_ERROR(CheckRanks(layer, factors));
  if (parts.alpha) {
    TS_ASSIGN_OR_RETURN(const float alpha, ReadAlpha(layer, *parts.alpha));
    factors.scale = alpha / static_cast<float>(factors.rank());
  } else {
    factors.scale = settings.Scale(layer, factors.rank());
  }
  return factors;
}

}  // namespace

absl::StatusOr<std::map<std::string, LoraLayer>> ReadLoraLayers(std::string_view bytes,
                                                                const std::string& file) {
  TS_ASSIGN_OR_RETURN(const TensorMap tensors, ParseSafetensors(bytes, file));
  TS_ASSIGN_OR_RETURN(const auto sorted, Sort(tensors));
  TS_ASSIGN_OR_RETURN(const PeftSettings settings, PeftSettings::OfSafetensors(bytes, file));
  std::map<std::string, LoraLayer> layers;
  for (const auto& [layer, parts] : sorted) {
    TS_ASSIGN_OR_RETURN(layers[layer], Assemble(layer, parts, settings));
  }
  return layers;
}

absl::StatusOr<LoraFile> LoraFile::Open(const std::string& path) {
  TS_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  auto layers = ReadLoraLayers(file.bytes(), path);
  if (layers.ok()) return LoraFile(std::move(file), *std::move(layers));
  const bool named = Message(layers.status()).starts_with(path);
  return named ? layers.status() : Annotate(layers.status(), path);
}

}  // namespace tiltshift::engine
