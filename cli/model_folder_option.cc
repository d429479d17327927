#include "cli/model_folder_option.h"

#include <filesystem>

namespace tiltshift::cli {
namespace {

namespace fs = std::filesystem;

std::string DefaultModels() {
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  for (const fs::path& candidate :
       {self.parent_path() / "../../../models", self.parent_path() / "../share/tiltshift/models"}) {
    if (fs::is_directory(candidate, error)) return candidate.lexically_normal().string();
  }
  return "models";
}

}  // namespace

void AddModelsOption(CLI::App& command, std::string& models) {
  models = DefaultModels();
  command.add_option("--models", models, "folder with a diffusers directory a model")
      ->envname("TILTSHIFT_MODELS")
      ->capture_default_str();
}

}  // namespace tiltshift::cli
