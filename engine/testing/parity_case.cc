#include "engine/testing/parity_case.h"

#include <sstream>

#include "base/file.h"
#include "engine/testing/tensor_file.h"
#include "engine/testing/tiny_model.h"

namespace tiltshift::engine {
namespace {

using nlohmann::json;

std::string Folder(const std::string& source_dir) { return source_dir + "/tests/goldens/parity/"; }

absl::Status Write(const std::string& path, const std::string& bytes) {
  return WriteFileAtomic(path, bytes, IfPresent::kReplace).status();
}

// What model_index.json says of a part.
struct Part {
  const char* name;
  const char* library;
  const char* index_class;
  const char* stem;
};
constexpr Part kParts[] = {
    {"text_encoder", "transformers", "CLIPTextModel", "model"},
    {"text_encoder_2", "transformers", "CLIPTextModelWithProjection", "model"},
    {"unet", "diffusers", "UNet2DConditionModel", "diffusion_pytorch_model"},
    {"vae", "diffusers", "AutoencoderKL", "diffusion_pytorch_model"}};

// Adds to `index` what model_index.json says of the part.
absl::Status WritePart(const std::string& from, const Part& part, const std::string& folder,
                       json* index) {
  TS_ASSIGN_OR_RETURN(const std::string config, ReadFile(from + "/config.json"));
  const std::string own_class = json::parse(config).value("_class_name", part.index_class);
  (*index)[part.name] = {part.library, own_class};
  TS_RETURN_IF_ERROR(Write(folder + "/config.json", config));
  TS_ASSIGN_OR_RETURN(const std::string list, ReadFile(from + "/tensors.txt"));
  TensorFile file;
  std::istringstream lines(list);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string name;
    words >> name;
    std::vector<int64_t> shape;
    for (int64_t dim; words >> dim;) shape.push_back(dim);
    file.Add(name, "BF16", shape, TinyTensorBytes(name, shape));
  }
  return Write(absl::StrCat(folder, "/", part.stem, ".safetensors"), file.Bytes());
}

absl::Status WriteTokenizer(const std::string& source_dir, const std::string& pad_token,
                            const std::string& folder) {
  for (const char* name : {"/vocab.json", "/merges.txt"}) {
    TS_ASSIGN_OR_RETURN(const std::string text,
                        ReadFile(absl::StrCat(source_dir, "/engine/testdata/tokenizer", name)));
    TS_RETURN_IF_ERROR(Write(folder + name, text));
  }
  const json config = {{"model_max_length", 77}, {"pad_token", pad_token}};
  return Write(folder + "/tokenizer_config.json", config.dump());
}

absl::StatusOr<json> ReadTable(const std::string& source_dir) {
  TS_ASSIGN_OR_RETURN(const std::string text, ReadFile(Folder(source_dir) + "cases.json"));
  return json::parse(text);
}

}  // namespace

absl::StatusOr<std::vector<ParityCase>> ReadParityCases(const std::string& source_dir) {
  TS_ASSIGN_OR_RETURN(const json table, ReadTable(source_dir));
  std::vector<ParityCase> cases;
  for (const json& row : table["cases"]) {
    ParityCase& parity = cases.emplace_back();
    parity.name = row["name"];
    parity.mode = row.value("mode", "text_to_image");
    parity.prompts = row["prompts"];
    const json negative = row.value("negative_prompt", json());
    if (negative.is_string()) parity.negative_prompt = negative;
    parity.width = row["width"];
    parity.height = row["height"];
    parity.steps = row.value("steps", 0);
    parity.guidance_scale = row["guidance_scale"];
    parity.clip_skip = row.value("clip_skip", 0);
    parity.strength = row.value("strength", 1.0);
    parity.image_guidance_scale = row.value("image_guidance_scale", 1.0);
    for (const json& control : row.value("controls", json::array())) {
      parity.controls.push_back({control["part"], control.value("scale", 1.0),
                                 control.value("start", 0.0), control.value("end", 1.0)});
    }
    parity.seed = row["seed"];
    parity.model = table["models"][row["model"].get<std::string>()];
    parity.scheduler = table["schedulers"][row["scheduler"].get<std::string>()];
  }
  return cases;
}

absl::Status WriteParityModel(const std::string& source_dir, const ParityCase& parity,
                              const std::string& folder) {
  json index;
  for (const auto& [name, value] : parity.model.items()) {
    if (name == "_class_name" || value.is_boolean()) index[name] = value;
  }
  for (const char* absent : {"safety_checker", "feature_extractor", "text_encoder", "tokenizer"}) {
    index[absent] = {nullptr, nullptr};
  }
  for (const Part& part : kParts) {
    if (!parity.model.contains(part.name)) continue;
    TS_RETURN_IF_ERROR(
        WritePart(Folder(source_dir) + "parts/" + parity.model[part.name].get<std::string>(), part,
                  absl::StrCat(folder, "/", part.name), &index));
  }
  for (const std::string suffix : {"", "_2"}) {
    if (!parity.model.contains("pad_token" + suffix)) continue;
    index["tokenizer" + suffix] = {"transformers", "CLIPTokenizer"};
    TS_RETURN_IF_ERROR(WriteTokenizer(source_dir, parity.model["pad_token" + suffix],
                                      absl::StrCat(folder, "/tokenizer", suffix)));
  }
  index["scheduler"] = {"diffusers", parity.scheduler["_class_name"]};
  TS_RETURN_IF_ERROR(Write(folder + "/scheduler/scheduler_config.json", parity.scheduler.dump()));
  if (parity.controls.empty()) return Write(folder + "/model_index.json", index.dump(1));
  for (size_t i = 0; i < parity.controls.size(); ++i) {
    TS_RETURN_IF_ERROR(
        WriteParityControl(source_dir, parity.controls[i].part, ParityControlFolder(folder, i)));
  }
  TS_ASSIGN_OR_RETURN(const std::string saved,
                      ReadFile(absl::StrCat(Folder(source_dir), parity.name, ".index.json")));
  return Write(folder + "/model_index.json", saved);
}

absl::Status WriteParityModel(const std::string& source_dir, const std::string& model,
                              const std::string& folder) {
  TS_ASSIGN_OR_RETURN(const json table, ReadTable(source_dir));
  if (!table["models"].contains(model))
    return absl::NotFoundError(absl::StrCat("no model ", model));
  ParityCase parity;
  parity.model = table["models"][model];
  parity.scheduler = table["schedulers"]["ddim"];
  return WriteParityModel(source_dir, parity, folder);
}

std::string ParityControlFolder(const std::string& folder, size_t number) {
  return absl::StrCat(folder, "/controlnet", number == 0 ? "" : absl::StrCat("_", number));
}

absl::Status WriteParityControl(const std::string& source_dir, const std::string& part,
                                const std::string& folder) {
  json unused;
  return WritePart(Folder(source_dir) + "parts/" + part,
                   {"controlnet", "diffusers", "ControlNetModel", "diffusion_pytorch_model"},
                   folder, &unused);
}

}  // namespace tiltshift::engine
