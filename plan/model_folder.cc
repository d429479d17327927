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
    const auto has = [&](const char* part) { return fs::exists(entry.path() / part, error); };
    if (has("config.json") && !has("model_index.json") && !has("unet"))
      names.push_back(entry.path().filename().string());
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
  return CheckIsThere("model", model, folder, ModelNames(folder));
}

absl::Status CheckControlIsThere(const std::string& folder, const std::string& control) {
  return CheckIsThere("ControlNet", control, folder, ControlNames(folder));
}

absl::Status CheckLoraIsThere(const std::string& folder, const std::string& lora) {
  return CheckIsThere("lora", lora, folder + "/loras", LoraNames(folder));
}

}  // namespace tiltshift::plan
