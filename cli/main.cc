// tiltshift: the command that people and scripts use.
#include <algorithm>
#include <csignal>
#include <cstdio>

#include "absl/strings/str_join.h"
#include "cli/commands.h"
#include "proto/identity_flags.h"

namespace tiltshift::cli {
namespace {

volatile std::sig_atomic_t g_interrupted = 0;

constexpr char kFooter[] =
    "Examples:\n"
    "  tiltshift render deploy/demo/figurines.yaml --out out/demo     a whole farm on this "
    "machine\n"
    "  tiltshift plan deploy/demo/figurines.yaml                      what it would render\n"
    "  tiltshift submit campaign.yaml --watch                         to a running farm\n"
    "\n"
    "Exit codes: 0 done; 1 the job ended with failed variants; 2 wrong arguments or spec; 3 no "
    "scheduler answers;\n"
    "4 cancelled or interrupted; 5 something on this machine (a folder, a missing program). "
    "docs/cli.md tells more.\n";

// CLI11 says of a misspelt command only that one is required.
absl::Status CheckCommand(const CLI::App& app, const std::string& name) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(command->get_name());
  if (name.starts_with('-') || std::ranges::count(names, name) > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("there is no command ", name,
                                                 "; the commands are ", absl::StrJoin(names, ", "),
                                                 " (tiltshift --help says what they do)"));
}

}  // namespace

bool Interrupted() { return g_interrupted != 0; }

void AddJsonOption(CLI::App& command, Common& common) {
  command.add_flag("--json", common.json, "JSON on standard output, for scripts");
}

void AddSchedulerOption(CLI::App& command, Common& common) {
  command
      .add_option("--scheduler", common.schedulers,
                  "host:port or unix:PATH; several, with commas: the one that leads is found")
      ->envname("TILTSHIFT_SCHEDULER")
      ->capture_default_str();
  AddIdentityFlags(command, common.identity);
}

ExitCode ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kDone;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kUnauthenticated:
      return kUsage;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return kUnreachable;
    case absl::StatusCode::kCancelled:
      return kCancelled;
    default:
      return kOther;
  }
}

int Main(int argc, char** argv) {
  CLI::App app{"Tiltshift: the render farm for diffusion images.", "tiltshift"};
  app.footer(kFooter);
  app.require_subcommand(1);
  Chosen chosen;
  AddRenderCommand(app, chosen);
  AddModelsCommand(app, chosen);
  AddPhotoCommand(app, chosen);
  AddPlanCommand(app, chosen);
  AddSubmitCommand(app, chosen);
  AddWatchCommand(app, chosen);
  AddJobCommands(app, chosen);
  AddContestCommands(app, chosen);
  AddLogsCommand(app, chosen);
  AddPrivacyCommands(app, chosen);
  AddOutputCommands(app, chosen);
  AddVerifyCommand(app, chosen);
  AddTokenCommands(app, chosen);
  if (argc == 1) {
    std::fprintf(stderr, "%s", app.help().c_str());
    return kUsage;
  }
  if (const absl::Status known = CheckCommand(app, argv[1]); !known.ok()) {
    std::fprintf(stderr, "tiltshift: %s\n", Message(known).c_str());
    return kUsage;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kUsage;
  }
  // The first asks the command to end in order; the second ends it as if there were no handler.
  struct sigaction once = {};
  once.sa_handler = [](int) { g_interrupted = 1; };
  once.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
  for (const int signal : {SIGINT, SIGTERM}) sigaction(signal, &once, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  const absl::StatusOr<ExitCode> result = chosen.run();
  if (result.ok()) return *result;
  std::fprintf(stderr, "tiltshift: %s\n", Message(result.status()).c_str());
  return ExitCodeOf(result.status());
}

}  // namespace tiltshift::cli

int main(int argc, char** argv) { return tiltshift::cli::Main(argc, argv); }
