#include "worker/describe_models.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "engine/describe.h"
#include "plan/model_folder.h"

namespace tiltshift::worker {
namespace {

// Notes in `fits`, by its path, what of `beside` fits the model.
v1::ModelDescription Describe(const std::string& folder, const std::string& name,
                              const std::shared_ptr<engine::WeightCache>& cache,
                              const engine::Beside& beside,
                              std::map<std::string, std::vector<std::string>>& fits) {
  v1::ModelDescription model;
  model.set_name(name);
  const auto found = engine::DescribeModel(absl::StrCat(folder, "/", name), {.weight_cache = cache}, beside);
  model.set_usable(found.ok());
  if (!found.ok()) {
    model.set_problem(Message(found.status()));
    model.set_advice(engine::Advice(found.status()));
    return model;
  }
  for (const std::string& path : found->fitting) fits[path].push_back(name);
  model.set_kind(found->kind);
  model.set_sampler(found->sampler);
  model.set_native_size(static_cast<uint32_t>(found->native_size));
  model.set_size_multiple(static_cast<uint32_t>(found->size_multiple));
  model.set_hash(found->hash);
  model.set_render_class(found->render_class);
  model.set_packed_bytes(found->packed_bytes);
  for (const engine::PartDescription& from : found->parts) {
    v1::ModelPart& part = *model.add_parts();
    part.set_name(from.name);
    part.set_parameters(from.parameters);
    part.set_weight_bytes(from.bytes);
    part.set_dtypes(from.dtypes);
    model.set_parameters(model.parameters() + from.parameters);
    model.set_weight_bytes(model.weight_bytes() + from.bytes);
  }
  return model;
}

v1::LoraDescription DescribeLora(const std::string& name, const std::string& path,
                                 const std::vector<std::string>& fits) {
  v1::LoraDescription lora;
  lora.set_name(name);
  const auto found = engine::DescribeLora(path);
  lora.set_usable(found.ok());
  if (!found.ok()) {
    lora.set_problem(Message(found.status()));
    return lora;
  }
  lora.set_changes(found->changes);
  lora.set_bytes(found->bytes);
  lora.set_hash(found->hash);
  for (const std::string& model : fits) lora.add_fits(model);
  return lora;
}

v1::ControlDescription DescribeControl(const std::string& name, const std::string& path,
                                       const std::vector<std::string>& fits) {
  v1::ControlDescription control;
  control.set_name(name);
  const auto found = engine::DescribeControl(path);
  control.set_usable(found.ok());
  if (!found.ok()) {
    control.set_problem(Message(found.status()));
    control.set_advice(engine::Advice(found.status()));
    return control;
  }
  control.set_kind(found->kind);
  control.set_parameters(found->part.parameters);
  control.set_weight_bytes(found->part.bytes);
  control.set_dtypes(found->part.dtypes);
  control.set_hash(found->hash);
  for (const std::string& model : fits) control.add_fits(model);
  return control;
}

}  // namespace

absl::StatusOr<v1::ModelFolder> DescribeModels(const std::string& folder,
                                               const std::vector<std::string>& names,
                                               const std::shared_ptr<engine::WeightCache>& cache) {
  if (!std::filesystem::is_directory(folder))
    return absl::NotFoundError(absl::StrCat("--models ", folder, ": there is no such folder"));
  v1::ModelFolder described;
  described.set_folder(folder);
  const bool all = names.empty();
  std::vector<std::string> models = all ? plan::ModelNames(folder) : names,
                           controls = plan::ControlNames(folder);
  if (!all) {
    const auto is_control = [&](const std::string& name) {
      return std::ranges::count(controls, name) > 0;
    };
    std::erase_if(controls, [&](const std::string& name) {  // a model's own goes with it
      return std::ranges::count(names, name) == 0 &&
             std::ranges::count(names, name.substr(0, name.find('/'))) == 0;
    });
    std::erase_if(models, is_control);
  }
  engine::Beside beside;
  for (const std::string& name : plan::LoraNames(folder))
    if (all) beside.loras.push_back(plan::LoraPath(folder, name));
  const auto path_of = [&](const std::string& name) { return absl::StrCat(folder, "/", name); };
  std::ranges::transform(controls, std::back_inserter(beside.controls), path_of);
  std::map<std::string, std::vector<std::string>> fits;
  for (const std::string& name : models) {
    TS_RETURN_IF_ERROR(plan::CheckModelIsThere(folder, name));
    *described.add_models() = Describe(folder, name, cache, beside, fits);
  }
  for (const std::string& path : beside.loras)
    *described.add_loras() = DescribeLora(std::filesystem::path(path).stem(), path, fits[path]);
  for (const std::string& name : controls)
    *described.add_controls() = DescribeControl(name, path_of(name), fits[path_of(name)]);
  return described;
}

std::string DescriptionJson(const v1::ModelFolder& folder) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string json;
  (void)google::protobuf::util::MessageToJsonString(folder, &json, options);
  return json;
}

}  // namespace tiltshift::worker
