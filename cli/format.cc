#include "cli/format.h"

#include <google/protobuf/util/json_util.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace tiltshift::cli {
namespace {

constexpr int kBarWidth = 32;

std::string Line(const v1::Job& job) {
  const uint64_t done = job.committed() + job.failed();
  const double share = job.variants() == 0 ? 0 : static_cast<double>(done) / job.variants();
  const int filled = static_cast<int>(share * kBarWidth);
  std::string line = "[";
  for (int i = 0; i < kBarWidth; ++i) line += i < filled ? "█" : "·";
  absl::StrAppend(&line, "] ", WithCommas(done), " of ", WithCommas(job.variants()));
  if (job.images_per_second() > 0) {
    absl::StrAppendFormat(&line, "  %.2f images/s", job.images_per_second());
    if (job.ended_unix_ms() == 0)
      absl::StrAppend(&line, "  ", Duration((job.variants() - done) / job.images_per_second()),
                      " left");
  }
  if (job.failed() > 0) absl::StrAppend(&line, "  ", job.failed(), " failed");
  return line;
}

}  // namespace

std::string ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string json;
  (void)google::protobuf::util::MessageToJsonString(message, &json, options);
  return json;
}

std::string StateName(v1::JobState state) {
  switch (state) {
    case v1::JOB_STATE_QUEUED:
      return "queued";
    case v1::JOB_STATE_RUNNING:
      return "running";
    case v1::JOB_STATE_DONE:
      return "done";
    case v1::JOB_STATE_FAILED:
      return "failed";
    case v1::JOB_STATE_CANCELLED:
      return "cancelled";
    case v1::JOB_STATE_PAUSED:
      return "paused";
    default:
      return "unknown";
  }
}

std::string Duration(double seconds) {
  if (!(seconds < 1e9)) return "a long time";
  const int64_t s = static_cast<int64_t>(std::llround(seconds));
  if (s >= 3600) return absl::StrFormat("%d:%02d:%02d", s / 3600, s / 60 % 60, s % 60);
  return absl::StrFormat("%d:%02d", s / 60, s % 60);
}

std::string WithCommas(uint64_t number) {
  std::string digits = std::to_string(number);
  for (int i = static_cast<int>(digits.size()) - 3; i > 0; i -= 3) digits.insert(i, ",");
  return digits;
}

void TellSkipped(const std::vector<std::string>& rows) {
  constexpr size_t kMostNamed = 10;
  for (size_t i = 0; i < std::min(rows.size(), kMostNamed); ++i)
    std::fprintf(stderr, "left out: %s\n", rows[i].c_str());
  if (rows.size() > kMostNamed)
    std::fprintf(stderr, "left out: %zu rows more\n", rows.size() - kMostNamed);
}

std::string FailureLine(uint64_t index, uint32_t attempts, const std::string& reason) {
  return absl::StrCat("variant ", index, " failed after ", attempts,
                      attempts == 1 ? " attempt: " : " attempts: ", reason);
}

std::string Summary(const v1::Job& job, const std::string& failures) {
  constexpr int kMostShown = 5;
  std::string text =
      absl::StrCat("job ", job.id(), " \"", job.spec().name(), "\" ", StateName(job.state()), ": ",
                   WithCommas(job.committed()), " of ", WithCommas(job.variants()), " pictures");
  if (job.ended_unix_ms() > job.started_unix_ms() && job.started_unix_ms() > 0) {
    absl::StrAppend(&text, " in ",
                    Duration((job.ended_unix_ms() - job.started_unix_ms()) / 1000.0));
  }
  if (job.failed() > 0) absl::StrAppend(&text, ", ", WithCommas(job.failed()), " failed");
  if (job.cancelled() > 0) absl::StrAppend(&text, ", ", WithCommas(job.cancelled()), " cancelled");
  int shown = 0;
  for (const auto& failure : job.failures()) {
    if (shown++ == kMostShown) break;
    absl::StrAppend(&text, "\n  ",
                    FailureLine(failure.index(), failure.attempts(), failure.reason()));
  }
  if (job.failed() > kMostShown) {
    absl::StrAppend(&text, "\n  and ", WithCommas(job.failed() - kMostShown), " more: ",
                    failures.empty()
                        ? absl::StrCat("`tiltshift status ", job.id(), " --failed` lists them all")
                        : failures + " lists them all");
  }
  return text;
}

Progress::Progress(bool json) : json_(json), terminal_(isatty(STDERR_FILENO) != 0) {}

void Progress::Show(const v1::Job& job) {
  if (json_) {
    v1::Job brief = job;
    brief.clear_spec();
    const std::string line = ToJson(brief);
    if (line != last_) std::printf("%s\n", line.c_str());
    std::fflush(stdout);
    last_ = line;
    return;
  }
  if (terminal_) {
    std::fprintf(stderr, "\r\033[K%s", Line(job).c_str());
    open_ = true;
    return;
  }
  const int tenths = job.variants() == 0
                         ? 0
                         : static_cast<int>(10 * (job.committed() + job.failed()) / job.variants());
  if (tenths != tenths_) std::fprintf(stderr, "%s\n", Line(job).c_str());
  tenths_ = tenths;
}

void Progress::End() {
  if (open_) std::fprintf(stderr, "\n");
  open_ = false;
}

}  // namespace tiltshift::cli
