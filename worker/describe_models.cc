#include "worker/describe_models.h"

#include <google/protobuf/util/json_util.h>

#include <filesystem>
#include <map>

#include "engine/describe.h"
#include "plan/model_folder.h"

namespace tiltshift::worker {
namespace {

// Notes in `fits`, by the LoRA's file, which of them fit the model.
v1::ModelDescription Describe(const std::string& folder, const std::string& name,
                              const std::vector<std::string>& loras,
                              std::map<std::string, std::vector<std::string>>& fits) {
  v1::ModelDescription model;
  model.set_name(name);
  const auto found = engine::DescribeModel(absl::StrCat(folder, "/", name), {}, loras);
  model.set_usable(found.ok());
  if (!found.ok()) {
    model.set_problem(Message(found.status()));
    model.set_advice(engine::Advice(found.status()));
    return model;
  }
  for (const std::string& lora : found->fitting_loras) fits[lora].push_back(name);
  model.set_kind(found->kind);
  model.set_sampler(found->sampler);
  model.set_native_size(static_cast<uint32_t>(found->native_size));
  model.set_size_multiple(static_cast<uint32_t>(found->size_multiple));
  model.set_hash(found->hash);
  model.set_render_class(found->render_class);
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

}  // namespace

absl::StatusOr<v1::ModelFolder> DescribeModels(const std::string& folder,
                                               const std::vector<std::string>& names) {
  if (!std::filesystem::is_directory(folder))
    return absl::NotFoundError(absl::StrCat("--models ", folder, ": there is no such folder"));
  v1::ModelFolder described;
  described.set_folder(folder);
  std::vector<std::string> loras;
  for (const std::string& name : plan::LoraNames(folder))
    if (names.empty()) loras.push_back(plan::LoraPath(folder, name));
  std::map<std::string, std::vector<std::string>> fits;
  for (const std::string& name : names.empty() ? plan::ModelNames(folder) : names) {
    TS_RETURN_IF_ERROR(plan::CheckModelIsThere(folder, name));
    *described.add_models() = Describe(folder, name, loras, fits);
  }
  for (const std::string& path : loras)
    *described.add_loras() = DescribeLora(std::filesystem::path(path).stem(), path, fits[path]);
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
