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
    if (has("model_index.json") || has("unet") || has("vae") || has("text_encoder"))
      names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

absl::Status CheckModelIsThere(const std::string& folder, const std::string& model) {
  const std::vector<std::string> known = ModelNames(folder);
  if (std::find(known.begin(), known.end(), model) != known.end()) return absl::OkStatus();
  return absl::NotFoundError(
      absl::StrCat("model: there is no ", model, " in ", folder, "; ",
                   known.empty() ? "no models are there at all (--models names the folder)"
                                 : absl::StrCat("known are: ", absl::StrJoin(known, ", "))));
}

}  // namespace tiltshift::plan
