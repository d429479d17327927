// The log of the farm's processes, on standard output: lines for people, or JSON for machines, an
// object a line with what it is about: job, variant, shard (its lease's token), worker, epoch,
// trace (docs/operations.md). Code logs through spdlog; what a line is about comes from the scope
// it is written in. Only in JSON there are events: what becomes of each variant, too many lines for
// people.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tiltshift {

struct LogOptions {
  std::string level = "info";  // debug, info, warn, error
  bool json = false;
};

// Once, before the first line.
void StartLog(const LogOptions& options);

// What of a line is known; the rest is left out.
struct LogFields {
  std::string_view job;
  std::optional<uint64_t> variant;
  std::optional<uint64_t> shard;         // the lease's token
  std::optional<uint64_t> first, count;  // of variants, where a line is about several
  std::string_view worker;
  std::string_view trace;  // W3C Trace Context's traceparent; the line has its trace id
};

// While it lives, the lines of this thread are about this; what it leaves out, about what the scope
// around it says. The texts must live as long.
class LogScope {
 public:
  explicit LogScope(const LogFields& fields);
  ~LogScope();
  LogScope(const LogScope&) = delete;
  LogScope& operator=(const LogScope&) = delete;

  const LogFields fields;
  const LogScope* const around;
};

// Of the process: every later line has them. 0 and empty: none.
void SetLogEpoch(uint64_t epoch);
void SetLogWorker(const std::string& worker);

// A line, in JSON alone.
bool LogsEvents();
void LogEvent(std::string_view what, const LogFields& fields = {});

// "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" -> the second part; empty where it is
// no traceparent of version 00. https://www.w3.org/TR/trace-context/#traceparent-header
std::string_view TraceId(std::string_view traceparent);
// A new trace, sampled.
std::string NewTraceparent();

}  // namespace tiltshift
