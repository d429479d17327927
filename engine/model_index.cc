#include "engine/model_index.h"

#include <algorithm>
#include <string_view>

#include "absl/strings/str_join.h"
#include "engine/json_text.h"
#include "nlohmann/json.hpp"

namespace tiltshift::engine {
namespace {

// diffusers' pipelines whose UNet this engine runs. What else a family differs in, its configs say:
// head counts and channels, what is predicted, a guidance embedding, more input channels.
struct Family {
  std::string_view pipeline;
  TextRule text;
};
constexpr Family kFamilies[] = {
    {"StableDiffusionPipeline", TextRule::kLastHidden},
    {"StableDiffusionImg2ImgPipeline", TextRule::kLastHidden},
    {"StableDiffusionInpaintPipeline", TextRule::kLastHidden},
    {"StableDiffusionInpaintPipelineLegacy", TextRule::kLastHidden},
    {"StableDiffusionInstructPix2PixPipeline", TextRule::kLastHidden},
    {"StableDiffusionControlNetPipeline", TextRule::kLastHidden},
    {"StableDiffusionControlNetImg2ImgPipeline", TextRule::kLastHidden},
    {"StableDiffusionControlNetInpaintPipeline", TextRule::kLastHidden},
    {"LatentConsistencyModelPipeline", TextRule::kLastHidden},
    {"LatentConsistencyModelImg2ImgPipeline", TextRule::kLastHidden},
    {"StableDiffusionXLPipeline", TextRule::kPenultimateHidden},
    {"StableDiffusionXLImg2ImgPipeline", TextRule::kPenultimateHidden},
    {"StableDiffusionXLInpaintPipeline", TextRule::kPenultimateHidden},
    {"StableDiffusionXLInstructPix2PixPipeline", TextRule::kPenultimateHidden},
    {"StableDiffusionXLControlNetPipeline", TextRule::kPenultimateHidden},
    {"StableDiffusionXLControlNetImg2ImgPipeline", TextRule::kPenultimateHidden},
    {"StableDiffusionXLControlNetInpaintPipeline", TextRule::kPenultimateHidden},
};

// The index as it is read: a part is ["library", "Class"], or [null, null] or missing where there
// is none.
class Parts {
 public:
  Parts(const nlohmann::json& index, const std::string& path) : index_(index), path_(path) {}

  std::string Class(const std::string& part) const {
    const auto at = index_.find(part);
    if (at == index_.end()) return "";
    if (at->is_string()) return at->get<std::string>();
    const bool pair = at->is_array() && at->size() == 2 && (*at)[1].is_string();
    return pair ? (*at)[1].get<std::string>() : "";
  }

  absl::Status Require(const std::string& part, const std::vector<std::string>& classes) const {
    const std::string found = Class(part);
    if (std::find(classes.begin(), classes.end(), found) != classes.end()) return absl::OkStatus();
    return absl::UnimplementedError(absl::StrCat(path_, ": ", part, " is ", Quoted(found),
                                                 "; this engine has ",
                                                 absl::StrJoin(classes, ", ")));
  }

  // The flag; InvalidArgument where it is something else.
  absl::StatusOr<bool> Flag(const char* name, bool missing) const {
    const auto at = index_.find(name);
    if (at == index_.end() || at->is_null()) return missing;
    if (at->is_boolean()) return at->get<bool>();
    return absl::InvalidArgumentError(
        absl::StrCat(path_, ": ", name, " is neither true nor false"));
  }

 private:
  const nlohmann::json& index_;
  const std::string& path_;
};

absl::Status ReadTextParts(const Parts& parts, const std::string& path, ModelIndex* index) {
  const bool several = index->text == TextRule::kPenultimateHidden;
  for (const char* suffix : {"", "_2"}) {
    const std::string encoder = absl::StrCat("text_encoder", suffix);
    const bool second = *suffix != '\0';
    if (second && !several) break;
    if (several && parts.Class(encoder).empty()) continue;
    TS_RETURN_IF_ERROR(
        parts.Require(encoder, {second ? "CLIPTextModelWithProjection" : "CLIPTextModel"}));
    TS_RETURN_IF_ERROR(
        parts.Require(absl::StrCat("tokenizer", suffix), {"CLIPTokenizer", "CLIPTokenizerFast"}));
    index->text_suffixes.push_back(suffix);
  }
  if (several && (index->text_suffixes.empty() || index->text_suffixes.back().empty())) {
    return absl::UnimplementedError(absl::StrCat(
        path, ": no text_encoder_2, whose projection this kind of pipeline is conditioned on"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelIndex> ParseModelIndex(std::string_view text, const std::string& path) {
  TS_ASSIGN_OR_RETURN(const nlohmann::json json, ParseJsonObject(text, path));
  const Parts parts(json, path);
  std::vector<std::string> known;
  for (const Family& family : kFamilies) known.emplace_back(family.pipeline);
  TS_RETURN_IF_ERROR(parts.Require("_class_name", known));

  ModelIndex index;
  const std::string pipeline = parts.Class("_class_name");
  index.text = std::ranges::find(kFamilies, std::string_view(pipeline), &Family::pipeline)->text;
  TS_RETURN_IF_ERROR(ReadTextParts(parts, path, &index));
  TS_RETURN_IF_ERROR(parts.Require("unet", {"UNet2DConditionModel"}));
  TS_RETURN_IF_ERROR(parts.Require("vae", {"AutoencoderKL", "AutoencoderTiny"}));
  index.scheduler_class = parts.Class("scheduler");
  if (index.text == TextRule::kPenultimateHidden) {
    TS_ASSIGN_OR_RETURN(index.zeros_without_negative,
                        parts.Flag("force_zeros_for_empty_prompt", true));
  }
  return index;
}

}  // namespace tiltshift::engine
