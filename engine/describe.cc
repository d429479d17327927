#include "engine/describe.h"

#include <limits>
#include <set>

#include "absl/strings/str_join.h"
#include "base/hash.h"
#include "engine/control_files.h"
#include "engine/finite.h"
#include "engine/json_text.h"
#include "engine/lora_merge.h"
#include "engine/model_impl.h"
#include "engine/pack/model_identity.h"
#include "engine/pack/pack_model.h"

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
  const size_t encoders = config.index.text_suffixes.size();
  const std::string more =
      absl::StrCat(encoders > 1 ? absl::StrCat(" by ", encoders, " encoders") : "",
                   config.unet.guidance_embed_dim > 0 ? ", guidance embedded" : "");
  return absl::StrCat(task, ", ", config.vae.latent_channels, " latent channels of 1/",
                      config.vae.scale(), ", ", PredictionName(config.noise.prediction), ", text ",
                      config.unet.cross_attention_dim, " wide", more);
}

PartDescription DescribePart(const std::string& name, const Weights& weights) {
  PartDescription part;
  part.name = name;
  std::set<std::string> dtypes;
  for (const auto& [tensor, view] : weights.tensors()) {
    part.parameters += view.elements();
    dtypes.emplace(DtypeName(view.dtype));
  }
  for (const auto& file : weights.files()) part.bytes += file->bytes().size();
  part.dtypes = absl::StrJoin(dtypes, ", ");
  return part;
}

using Parts = std::vector<std::pair<std::string, const Weights*>>;

Parts PartsOf(const Model::Impl& impl) {
  Parts parts;
  for (size_t i = 0; i < impl.texts.size(); ++i) {
    parts.emplace_back("text_encoder" + impl.config.index.text_suffixes[i],
                       &impl.texts[i].encoder->weights());
  }
  parts.emplace_back("unet", &impl.unet->weights());
  parts.emplace_back("vae", &impl.vae->weights());
  return parts;
}

std::vector<std::string> FittingLoras(const Parts& parts, const UNetConfig& unet,
                                      const std::vector<std::string>& loras) {
  LoraComponents components(parts.begin(), parts.end());
  components.erase("vae");
  const auto targets = LoraTargets(components, unet);
  std::vector<std::string> fitting;
  for (const std::string& lora : loras) {
    const auto file = LoraFile::Open(lora);
    if (file.ok() && CheckLoraFits(*file, "", targets, "").ok()) fitting.push_back(lora);
  }
  return fitting;
}

uint64_t PackedBytes(const std::string& directory, const Model::Impl& model, WeightCache* cache) {
  const auto identity = ModelIdentity(directory);
  if (cache == nullptr || !identity.ok()) return 0;
  const PackModelOptions find = {.directory = directory, .identity = *identity, .may_make = false};
  const auto pack = PackModel(model, find, *cache);
  return pack == nullptr ? 0 : pack->file_bytes();
}

// "text_encoder", "unet" by any spelling of a layer.
std::string ComponentOf(const std::string& layer) {
  for (const char* prefix : {"text_encoder_2", "lora_te2_"}) {
    if (layer.starts_with(prefix)) return "text_encoder_2";
  }
  for (const char* prefix : {"text_encoder", "lora_te_", "lora_te1_"}) {
    if (layer.starts_with(prefix)) return "text_encoder";
  }
  return "unet";
}

}  // namespace

absl::StatusOr<ModelDescription> DescribeModel(const std::string& directory,
                                               const LoadOptions& options, const Beside& beside) {
  LoadOptions all_of_it = options;
  all_of_it.weight_cache = nullptr;
  TS_ASSIGN_OR_RETURN(const auto model, Model::Load(directory, all_of_it));
  const Model::Impl& impl = model->impl();
  const Parts parts = PartsOf(impl);
  ModelDescription description;
  for (const auto& [name, weights] : parts) {
    description.parts.push_back(DescribePart(name, *weights));
  }
  description.kind = Kind(impl.config);
  description.sampler = SamplerName(impl.config.noise);
  description.native_size = impl.config.unet.sample_size * impl.config.vae.scale();
  description.size_multiple = model->size_multiple();
  description.hash = model->hash();
  description.render_class = model->render_class();
  description.packed_bytes = PackedBytes(directory, impl, options.weight_cache.get());
  description.fitting = FittingLoras(parts, impl.config.unet, beside.loras);
  for (const std::string& path : beside.controls) {
    const auto control = OpenControl(path);
    if (control.ok() && CheckControlFits(control->config, "", impl.config, "").ok())
      description.fitting.push_back(path);
  }
  return description;
}

absl::StatusOr<LoraDescription> DescribeLora(const std::string& path) {
  TS_ASSIGN_OR_RETURN(const LoraFile file, LoraFile::Open(path));
  std::set<std::string> components;
  int64_t least = std::numeric_limits<int64_t>::max(), most = 0;
  for (const auto& [name, layer] : file.layers()) {
    components.insert(ComponentOf(name));
    least = std::min(least, layer.rank());
    most = std::max(most, layer.rank());
  }
  const std::string ranks = least == most ? absl::StrCat(least) : absl::StrCat(least, " to ", most);
  const size_t count = file.layers().size();
  return LoraDescription{absl::StrCat(count, count == 1 ? " layer" : " layers", " of ",
                                      absl::StrJoin(components, " and "), ", rank ", ranks),
                         file.bytes().size(), Sha256Hex(file.bytes())};
}

absl::StatusOr<ControlDescription> DescribeControl(const std::string& directory) {
  TS_ASSIGN_OR_RETURN(ModelFiles::Control control, OpenControl(directory));
  TS_RETURN_IF_ERROR(CheckFinite(control.weights));
  ControlDescription description;
  const std::vector<int>& channels = control.config.block_out_channels;
  description.kind = absl::StrCat("ControlNet of ", channels.size(), " levels, ", channels.front(),
                                  " to ", channels.back(), " channels, text ",
                                  control.config.cross_attention_dim, " wide");
  description.part = DescribePart("controlnet", control.weights);
  TS_ASSIGN_OR_RETURN(description.hash, HashOfControl(directory, control));
  TS_RETURN_IF_ERROR(UNet::Load(control.config, std::move(control.weights)).status());
  return description;
}

absl::StatusOr<ControlSummary> ExamineControl(const std::string& directory) {
  TS_ASSIGN_OR_RETURN(const ControlDescription control, DescribeControl(directory));
  return ControlSummary{control.hash, control.part.bytes};
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
