#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/format.h"
#include "cli/outputs.h"

namespace tiltshift::cli {
namespace {

struct GetOptions {
  Common common;
  std::string job, out;
};

struct SheetOptions {
  Common common;
  std::string folder;
  SheetLayout layout;
};

absl::StatusOr<ExitCode> RunGet(const GetOptions& options) {
  FarmClient client(options.common.schedulers, Identity::Load(options.common.identity));
  TS_RETURN_IF_ERROR(client.GetJob(options.job).status());
  TS_ASSIGN_OR_RETURN(const Fetched fetched,
                      FetchOutputs(client, options.job, options.out, {.interrupted = Interrupted}));
  if (options.common.json) {
    const nlohmann::json json = {{"pictures", fetched.pictures},
                                 {"fetched", fetched.fetched},
                                 {"bytes", fetched.bytes},
                                 {"folder", options.out}};
    std::printf("%s\n", json.dump().c_str());
  } else {
    std::printf("%s pictures in %s, %s of them new; manifest.jsonl lists them\n",
                WithCommas(fetched.pictures).c_str(), options.out.c_str(),
                WithCommas(fetched.fetched).c_str());
  }
  return kDone;
}

absl::StatusOr<ExitCode> RunSheet(const SheetOptions& options) {
  TS_ASSIGN_OR_RETURN(const auto paths, WriteSheets(options.folder, options.layout));
  if (options.common.json) {
    std::printf("%s\n", nlohmann::json{{"sheets", paths}}.dump().c_str());
  } else {
    for (const std::string& path : paths) std::printf("%s\n", path.c_str());
  }
  return kDone;
}

}  // namespace

void AddOutputCommands(CLI::App& app, Chosen& chosen) {
  auto get = std::make_shared<GetOptions>();
  CLI::App* get_command = AddFarmCommand(
      app, chosen, get, "get", "Bring a job's pictures into a folder; again fetches what is new",
      "tiltshift get j0123456789abcde --out pictures", RunGet);
  get_command->add_option("job", get->job, "the job's id")->required();
  get_command->add_option("--out", get->out, "the folder; made if missing")->required();

  auto sheet = std::make_shared<SheetOptions>();
  CLI::App* sheet_command = app.add_subcommand(
      "sheet", "Draw labelled contact sheets of a folder that get or render made");
  sheet_command->footer(
      "Example:\n  tiltshift sheet out/demo --columns 8 --cell 192 --title 'Summer figurines'\n");
  sheet_command->add_option("folder", sheet->folder, "holds manifest.jsonl and the pictures")
      ->required();
  sheet_command->add_option("--columns", sheet->layout.columns, "pictures a row")
      ->capture_default_str()
      ->check(CLI::Range(1, 40));
  sheet_command
      ->add_option("--cell", sheet->layout.cell_pixels, "pixels of a picture's longer side")
      ->capture_default_str()
      ->check(CLI::Range(16, 1024));
  sheet_command->add_option("--title", sheet->layout.title, "a line above the pictures");
  AddJsonOption(*sheet_command, sheet->common);
  sheet_command->callback([sheet, &chosen] { chosen.run = [sheet] { return RunSheet(*sheet); }; });
}

}  // namespace tiltshift::cli
