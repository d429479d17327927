#include "engine/describe.h"

#include <set>

#include "absl/strings/str_join.h"
#include "engine/finite.h"
#include "engine/json_text.h"
#include "engine/model_impl.h"

namespace tiltshift::engine {
namespace {

std::string PredictionName(PredictionType prediction) {
  switch (prediction) {
    case PredictionType::kEpsilon:
      return "epsilon";
    case PredictionType::kVPrediction:
      return "v-prediction";
    case PredictionType::kSample:
      return "sample prediction";
  }
  return "";
}

std::string SamplerName(const NoiseConfig& noise) {
  const std::pair<SamplerKind, const char*> names[] = {
      {SamplerKind::kDdim, "ddim"},
      {SamplerKind::kEulerAncestral, "euler_a"},
      {SamplerKind::kDpmpp2mKarras, "dpmpp_2m_karras"},
      {SamplerKind::kLcm, "lcm"},
      {SamplerKind::kEuler, "euler"},
      {SamplerKind::kDpmpp2m, "dpmpp_2m"}};
  for (const auto& [kind, name] : names) {
    if (noise.default_sampler == kind) return name;
  }
  return "";
}

std::string Kind(const ModelConfig& config) {
  std::string task = "text to image";
  if (config.extra_input == ExtraInput::kPhoto) task = "text and photo to image";
  if (config.extra_input == ExtraInput::kMaskPhoto) task = "inpainting";
  return absl::StrCat(task, ", ", config.vae.latent_channels, " latent channels of 1/",
                      config.vae.scale(), ", ", PredictionName(config.noise.prediction), ", text ",
                      config.unet.cross_attention_dim, " wide");
}

absl::Status CheckFinite(const std::string& folder, const Weights& weights) {
  for (const auto& [name, view] : weights.tensors()) {
    const auto bad = FirstNotFinite(view);
    if (!bad) continue;
    return absl::DataLossError(absl::StrCat(folder, ": tensor ", Quoted(name), ": element ", *bad,
                                            " of [", absl::StrJoin(view.shape, ", "),
                                            "] is NaN or infinite"));
  }
  return absl::OkStatus();
}

PartDescription DescribePart(const std::string& name, const Weights& weights) {
  PartDescription part;
  part.name = name;
  std::set<std::string> dtypes;
  for (const auto& [tensor, view] : weights.tensors()) {
    part.parameters += view.elements();
    dtypes.emplace(DtypeName(view.dtype));
  }
  for (const MappedFile& file : weights.files()) part.bytes += file.bytes().size();
  part.dtypes = absl::StrJoin(dtypes, ", ");
  return part;
}

}  // namespace

absl::StatusOr<ModelDescription> DescribeModel(const std::string& directory,
                                               const LoadOptions& options) {
  TS_ASSIGN_OR_RETURN(const auto model, Model::Load(directory, options));
  const Model::Impl& impl = model->impl();
  std::vector<std::pair<std::string, const Weights*>> parts;
  for (size_t i = 0; i < impl.texts.size(); ++i) {
    parts.emplace_back("text_encoder" + impl.config.index.text_suffixes[i],
                       &impl.texts[i].encoder->weights());
  }
  parts.emplace_back("unet", &impl.unet->weights());
  parts.emplace_back("vae", &impl.vae->weights());
  ModelDescription description;
  for (const auto& [name, weights] : parts) {
    TS_RETURN_IF_ERROR(CheckFinite(absl::StrCat(directory, "/", name), *weights));
    description.parts.push_back(DescribePart(name, *weights));
  }
  description.kind = Kind(impl.config);
  description.sampler = SamplerName(impl.config.noise);
  description.native_size = impl.config.unet.sample_size * impl.config.vae.scale();
  description.size_multiple = model->size_multiple();
  description.hash = model->hash();
  description.render_class = model->render_class();
  return description;
}

std::string Advice(const absl::Status& error) {
  switch (error.code()) {
    case absl::StatusCode::kNotFound:
      return "copy the model's whole folder, in the layout of diffusers, as its maker published it";
    case absl::StatusCode::kDataLoss:
      return "fetch that part again, configs and weights together: both must be of one model";
    case absl::StatusCode::kInvalidArgument:
      return "fetch the model's configs again, from where the weights came from";
    case absl::StatusCode::kUnimplemented:
      return "this engine has no such network; docs/models.md says what it has";
    default:
      return "";
  }
}

}  // namespace tiltshift::engine
