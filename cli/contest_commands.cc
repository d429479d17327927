#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/client.h"
#include "cli/commands.h"
#include "cli/contest_results.h"
#include "cli/format.h"
#include "cli/photo_files.h"
#include "plan/entry_table.h"

namespace tiltshift::cli {
namespace {

struct ContestOptions {
  Common common;
  std::string job, table, out;
  bool skip_bad = false, only_failed = false;
};

absl::StatusOr<ExitCode> RunAppend(const ContestOptions& options) {
  FarmClient client(options.common.schedulers, Identity::Load(options.common.identity));
  TS_ASSIGN_OR_RETURN(const v1::Job job, client.GetJob(options.job));
  if (!job.spec().has_contest())
    return absl::InvalidArgumentError(absl::StrCat("job ", options.job, " is no contest"));
  PhotoFiles photos;
  TS_ASSIGN_OR_RETURN(
      plan::EntryTable table,
      plan::ReadEntryTable(
          job.spec(),
          {.file = options.table, .skip_bad = options.skip_bad, .check_photo = photos.Checker()},
          ""));
  TellSkipped(table.skipped);
  TS_RETURN_IF_ERROR(
      photos.Upload(client, job.spec().tenant(), "append " + options.job, table.batches));
  TS_ASSIGN_OR_RETURN(const v1::SubmitResponse appended,
                      client.AppendEntries(options.job, table.batches));
  if (options.common.json) {
    std::printf("%s\n", ToJson(appended).c_str());
    return kDone;
  }
  std::printf("%s: %s pictures now\n", options.job.c_str(),
              WithCommas(appended.variants()).c_str());
  return kDone;
}

absl::StatusOr<ExitCode> RunEntries(const ContestOptions& options) {
  FarmClient client(options.common.schedulers, Identity::Load(options.common.identity));
  if (!options.common.json)
    std::printf("%-24s %-24s %-10s %8s  %s\n", "ENTRY", "AUTHOR", "STATE", "DONE", "REASON");
  TS_RETURN_IF_ERROR(client.ListEntries(options.job, [&](const v1::EntryStatus& entry) {
    if (options.only_failed && entry.failed() == 0) return;
    if (options.common.json) {
      std::printf("%s\n", ToJson(entry).c_str());
      return;
    }
    std::printf("%-24s %-24s %-10s %8s  %s\n", entry.id().c_str(), entry.author().c_str(),
                StateName(entry.state()).c_str(),
                absl::StrCat(entry.committed(), "/", entry.variants().count()).c_str(),
                entry.reason().c_str());
  }));
  return kDone;
}

absl::StatusOr<ExitCode> RunResults(const ContestOptions& options) {
  FarmClient client(options.common.schedulers, Identity::Load(options.common.identity));
  TS_ASSIGN_OR_RETURN(const size_t entries, WriteResults(client, options.job, options.out));
  if (options.common.json) {
    std::printf("%s\n", nlohmann::json{{"entries", entries}, {"file", options.out}}.dump().c_str());
  } else {
    std::printf("%s entries in %s\n", WithCommas(entries).c_str(), options.out.c_str());
  }
  return kDone;
}

CLI::App* Add(CLI::App& app, Chosen& chosen, const std::shared_ptr<ContestOptions>& options,
              const char* name, const char* what, const char* example,
              absl::StatusOr<ExitCode> (*run)(const ContestOptions&)) {
  CLI::App* command = AddFarmCommand(app, chosen, options, name, what, example, run);
  command->add_option("job", options->job, "the contest's id")->required();
  return command;
}

}  // namespace

void AddContestCommands(CLI::App& app, Chosen& chosen) {
  auto append = std::make_shared<ContestOptions>();
  CLI::App* command =
      Add(app, chosen, append, "append", "Add entries to a contest; an ended one runs again",
          "tiltshift append j0123456789abcde late.csv", RunAppend);
  command->add_option("table", append->table, "CSV or JSONL, with the columns the contest has")
      ->required();
  command->add_flag("--skip-invalid", append->skip_bad,
                    "leave rows out that can't be taken; else they are an error");

  auto entries = std::make_shared<ContestOptions>();
  command = Add(app, chosen, entries, "entries",
                "How far each of a contest's entries is, and what failed",
                "tiltshift entries j0123456789abcde --failed", RunEntries);
  command->add_flag("--failed", entries->only_failed, "only those of which something failed");

  auto results = std::make_shared<ContestOptions>();
  command = Add(app, chosen, results, "results",
                "Write a contest's results: entries, states, pictures, reasons",
                "tiltshift results j0123456789abcde --out results.csv", RunResults);
  command
      ->add_option("--out", results->out,
                   "a CSV file, or JSON where it ends in .json, a line an entry in .jsonl")
      ->required();
}

}  // namespace tiltshift::cli
