// `tiltshift logs`: what became of a variant, a job or a trace, out of the logs of a farm's
// processes
// (--log json), wherever they were gathered.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "cli/commands.h"

namespace tiltshift::cli {
namespace {

using nlohmann::json;

struct LogsOptions {
  Common common;
  std::string subject;
  std::vector<std::string> files;
};

// A job, a variant of it, or a trace.
struct Subject {
  std::string id;
  std::optional<uint64_t> variant;
};

Subject SubjectOf(const std::string& text) {
  const size_t slash = text.find('/');
  uint64_t index = 0;
  if (slash != std::string::npos && absl::SimpleAtoi(text.substr(slash + 1), &index))
    return {text.substr(0, slash), index};
  return {text, std::nullopt};
}

// The line's field, where it is of the type that ours are.
std::string Text(const json& line, const char* name) {
  const auto field = line.find(name);
  return field != line.end() && field->is_string() ? field->get<std::string>() : "";
}
std::optional<uint64_t> Number(const json& line, const char* name) {
  const auto field = line.find(name);
  if (field == line.end() || !field->is_number_unsigned()) return std::nullopt;
  return field->get<uint64_t>();
}

// A line about the whole job is about each of its variants; one about a range, about those in it.
bool IsAbout(const json& line, const Subject& subject) {
  if (Text(line, "job") != subject.id) return Text(line, "trace") == subject.id;
  if (!subject.variant.has_value()) return true;
  if (const auto variant = Number(line, "variant")) return *variant == *subject.variant;
  const auto first = Number(line, "first"), count = Number(line, "count");
  if (!first || !count) return true;
  return *first <= *subject.variant && *subject.variant - *first < *count;
}

// Lines that are no JSON are somebody else's: journals and containers mix them in.
void Read(std::istream& stream, const Subject& subject, std::vector<json>& lines) {
  for (std::string text; std::getline(stream, text);) {
    json line = json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (line.is_object() && IsAbout(line, subject)) lines.push_back(std::move(line));
  }
}

void Print(const json& line) {
  std::string text = absl::StrCat(Text(line, "time"), " ", Text(line, "level"), " ");
  std::string message = Text(line, "message");
  for (char& c : message)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  text += message;
  for (const char* name : {"variant", "first", "count", "shard", "worker", "epoch"}) {
    const auto field = line.find(name);
    if (field == line.end()) continue;
    absl::StrAppend(&text, " ", name, "=",
                    field->is_string() ? field->get<std::string>() : field->dump());
  }
  std::printf("%s\n", text.c_str());
}

absl::StatusOr<ExitCode> RunLogs(const LogsOptions& options) {
  const Subject subject = SubjectOf(options.subject);
  std::vector<json> lines;
  for (const std::string& file : options.files) {
    std::ifstream stream(file);
    if (!stream) return absl::NotFoundError(absl::StrCat(file, ": can't be read"));
    Read(stream, subject, lines);
  }
  if (options.files.empty()) Read(std::cin, subject, lines);
  std::stable_sort(lines.begin(), lines.end(),
                   [](const json& a, const json& b) { return Text(a, "time") < Text(b, "time"); });
  for (const json& line : lines) {
    if (options.common.json) {
      std::printf("%s\n", line.dump().c_str());
    } else {
      Print(line);
    }
  }
  if (!lines.empty()) return kDone;
  return absl::NotFoundError(
      absl::StrCat("no line is about \"", options.subject,
                   "\": give the logs of the scheduler and the workers, written with --log json"));
}

}  // namespace

void AddLogsCommand(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<LogsOptions>();
  CLI::App* command =
      app.add_subcommand("logs", "What became of a job, a variant (JOB/INDEX) or a trace");
  command->footer(
      "Reads what schedulers and workers wrote with --log json, in any order.\nExamples:\n"
      "  tiltshift logs j0123456789abcde/17 scheduler.log worker-*.log\n"
      "  journalctl -o cat -u 'tiltshift-*' | tiltshift logs j0123456789abcde/17\n");
  command->add_option("subject", options->subject, "JOB, JOB/INDEX, or a trace id")->required();
  command->add_option("files", options->files, "log files; none: standard input")
      ->check(CLI::ExistingFile);
  AddJsonOption(*command, options->common);
  command->callback([options, &chosen] { chosen.run = [options] { return RunLogs(*options); }; });
}

}  // namespace tiltshift::cli
