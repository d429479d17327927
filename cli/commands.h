// The commands of `tiltshift`, one file each. A command adds itself to the app and, when it was
// chosen, leaves what to do in `Chosen::run`; main runs it and turns its result into an exit code.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "proto/identity.h"

namespace tiltshift::cli {

// What a script can tell from the exit code; docs/cli.md.
enum ExitCode {
  kDone = 0,
  kJobFailed = 1,    // the job ended, and some of its variants failed
  kUsage = 2,        // wrong arguments or an invalid spec: nothing was started
  kUnreachable = 3,  // no scheduler answers
  kCancelled = 4,    // the job was cancelled, or the command interrupted
  kOther = 5,        // this machine: a file can't be written, a program is missing, ...
};

struct Chosen {
  std::function<absl::StatusOr<ExitCode>()> run;
};

// Options that every command has.
struct Common {
  bool json = false;
  std::string schedulers = "127.0.0.1:7070";
  IdentityOptions identity;
};

void AddLogsCommand(CLI::App& app, Chosen& chosen);
void AddModelsCommand(CLI::App& app, Chosen& chosen);
void AddPhotoCommand(CLI::App& app, Chosen& chosen);
void AddPlanCommand(CLI::App& app, Chosen& chosen);
void AddRenderCommand(CLI::App& app, Chosen& chosen);
void AddSubmitCommand(CLI::App& app, Chosen& chosen);
void AddVerifyCommand(CLI::App& app, Chosen& chosen);
void AddWatchCommand(CLI::App& app, Chosen& chosen);
void AddJobCommands(CLI::App& app, Chosen& chosen);      // status, list, cancel, pause, ...
void AddContestCommands(CLI::App& app, Chosen& chosen);  // append, entries, results
void AddPrivacyCommands(CLI::App& app, Chosen& chosen);  // forget, receipts
void AddOutputCommands(CLI::App& app, Chosen& chosen);   // get, sheet
void AddTokenCommands(CLI::App& app, Chosen& chosen);    // token create, revoke, list

// --json and, where the command talks to a farm, --scheduler (or TILTSHIFT_SCHEDULER) and who
// calls.
void AddJsonOption(CLI::App& command, Common& common);
void AddSchedulerOption(CLI::App& command, Common& common);

// A command that talks to a farm: what it does, an example, and `run` with its options, which have
// a Common. The caller adds the options of its own.
template <typename Options>
CLI::App* AddFarmCommand(CLI::App& app, Chosen& chosen, const std::shared_ptr<Options>& options,
                         const char* name, const char* what, const char* example,
                         absl::StatusOr<ExitCode> (*run)(const Options&)) {
  CLI::App* command = app.add_subcommand(name, what);
  command->footer(std::string("Example:\n  ") + example + "\n");
  AddSchedulerOption(*command, options->common);
  AddJsonOption(*command, options->common);
  command->callback(
      [options, &chosen, run] { chosen.run = [options, run] { return run(*options); }; });
  return command;
}

// The exit code an error stands for.
ExitCode ExitCodeOf(const absl::Status& status);

// True once Ctrl-C or SIGTERM was received. Long commands ask between steps.
bool Interrupted();

}  // namespace tiltshift::cli
