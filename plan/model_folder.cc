#include "plan/model_folder.h"

#include <algorithm>
#include <filesystem>

#include "absl/strings/str_join.h"

namespace tiltshift::plan {

namespace fs = std::filesystem;

std::vector<std::string> ModelNames(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const auto has = [&](const char* part) { return fs::exists(entry.path() / part, error); };
    if (has("model_index.json") || has("checkpoint.safetensors") || has("unet") || has("vae") || has("text_encoder"))
      names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> StrayFiles(const std::string& folder) {
  std::vector<std::string> files;
  std::error_code error;
  const auto add_those_in = [&](const fs::path& from, const std::string& prefix) {
    for (const auto& entry : fs::directory_iterator(from, error)) {
      if (entry.path().extension() == ".safetensors" && !entry.is_directory(error))
        files.push_back(prefix + entry.path().filename().string());
    }
  };
  add_those_in(folder, "");
  const std::vector<std::string> models = ModelNames(folder), controls = ControlNames(folder);
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename();
    if (name == "loras" || std::ranges::binary_search(models, name) ||
        std::ranges::binary_search(controls, name))
      continue;
    add_those_in(entry.path(), name + "/");
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string StrayAdvice(const std::string& file) {
  const fs::path path(file);
  const std::string name = path.has_parent_path() ? path.parent_path().string() : path.stem().string();
  return absl::StrCat(file, " lies where nothing looks: a checkpoint in one file belongs to ", name,
                      "/checkpoint.safetensors, beside its tokenizer/, and a LoRA to loras/");
}

std::vector<std::string> LoraNames(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder + "/loras", error)) {
    if (entry.path().extension() == ".safetensors") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> ControlNames(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename();
    const auto has = [&](const std::string& part) {
      return fs::exists(entry.path() / part, error);
    };
    if (has("config.json") && !has("model_index.json") && !has("unet")) names.push_back(name);
    std::string own = "controlnet";
    for (int i = 1; has(own + "/config.json"); own = absl::StrCat("controlnet_", i++))
      names.push_back(absl::StrCat(name, "/", own));
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string LoraPath(const std::string& folder, const std::string& name) {
  return absl::StrCat(folder, "/loras/", name, ".safetensors");
}

namespace {

absl::Status CheckIsThere(const std::string& what, const std::string& name,
                          const std::string& folder, const std::vector<std::string>& known) {
  if (std::find(known.begin(), known.end(), name) != known.end()) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat(
      what, ": there is no ", name, " in ", folder, "; ",
      known.empty() ? absl::StrCat("no ", what, "s are there at all (--models names the folder)")
                    : absl::StrCat("known are: ", absl::StrJoin(known, ", "))));
}

}  // namespace

absl::Status CheckModelIsThere(const std::string& folder, const std::string& model) {
  const absl::Status there = CheckIsThere("model", model, folder, ModelNames(folder));
  if (there.ok()) return there;
  for (const std::string& file : StrayFiles(folder)) {
    if (file == model + ".safetensors" || file.starts_with(model + "/"))
      return absl::NotFoundError(absl::StrCat(std::string(there.message()), "; ", StrayAdvice(file)));
  }
  return there;
}

absl::Status CheckControlIsThere(const std::string& folder, const std::string& control) {
  return CheckIsThere("ControlNet", control, folder, ControlNames(folder));
}

absl::Status CheckLoraIsThere(const std::string& folder, const std::string& lora) {
  return CheckIsThere("lora", lora, folder + "/loras", LoraNames(folder));
}

}  // namespace tiltshift::plan
