#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "cli/commands.h"
#include "picture/photo.h"
#include "picture/photo_check.h"
#include "picture/photo_process.h"

namespace tiltshift::cli {
namespace {

struct PhotoOptions {
  Common common;
  std::vector<std::string> files;
};

absl::StatusOr<picture::Image> Decode(const picture::PhotoProcess& process,
                                      const std::string& file) {
  TS_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(file, picture::kLargestPhotoBytes));
  return process.Decode(bytes);
}

void Print(const std::string& file, const absl::StatusOr<picture::Image>& photo, bool json) {
  if (!photo.ok()) {
    const nlohmann::json line = {
        {"file", file}, {"taken", false}, {"reason", Message(photo.status())}};
    if (json)
      std::printf("%s\n",
                  line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    if (!json) std::printf("%s: refused: %s\n", file.c_str(), Message(photo.status()).c_str());
    return;
  }
  const auto warnings = picture::CheckPhoto(picture::Measure(*photo));
  if (!json) {
    std::printf("%s: %dx%d%s\n", file.c_str(), photo->width, photo->height,
                warnings.empty() ? ", fine" : "");
    for (const auto& warning : warnings) std::printf("  %s\n", warning.words.c_str());
    return;
  }
  nlohmann::json line = {{"file", file},
                         {"taken", true},
                         {"width", photo->width},
                         {"height", photo->height},
                         {"warnings", nlohmann::json::array()}};
  for (const auto& [about, words] : warnings)
    line["warnings"].push_back({{"about", about}, {"words", words}});
  std::printf("%s\n", line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
}

absl::StatusOr<ExitCode> RunPhoto(const PhotoOptions& options) {
  const picture::PhotoProcess process;
  ExitCode code = kDone;
  for (const std::string& file : options.files) {
    if (Interrupted()) return absl::CancelledError("interrupted");
    const auto photo = Decode(process, file);
    if (absl::IsFailedPrecondition(photo.status())) return photo.status();
    Print(file, photo, options.common.json);
    if (!photo.ok()) code = kJobFailed;
  }
  return code;
}

}  // namespace

void AddPhotoCommand(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<PhotoOptions>();
  CLI::App* command = app.add_subcommand(
      "photo", "Whether photos can be taken, and will do: size, sharpness, light");
  command->footer(
      "Examples:\n  tiltshift photo me.jpg\n  tiltshift photo entries/*.jpg --json   # a line "
      "each\n");
  command->add_option("files", options->files, "JPEG, PNG, WebP or HEIC")->required();
  AddJsonOption(*command, options->common);
  command->callback([options, &chosen] { chosen.run = [options] { return RunPhoto(*options); }; });
}

}  // namespace tiltshift::cli
