#include "base/log.h"

#include <spdlog/formatter.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/hash.h"

namespace tiltshift {
namespace {

std::atomic<bool> g_json{false};
std::atomic<uint64_t> g_epoch{0};
std::mutex g_worker_mutex;
std::string g_worker;
thread_local const LogScope* t_scope = nullptr;

// What is no UTF-8 comes out as U+FFFD: a reader of JSON would refuse the line.
void AppendText(std::string_view text, std::string& to) {
  using nlohmann::json;
  to += json(std::string(text)).dump(-1, ' ', false, json::error_handler_t::replace);
}

void AppendField(const char* name, std::string_view text, std::string& to) {
  if (text.empty()) return;
  absl::StrAppend(&to, ",\"", name, "\":");
  AppendText(text, to);
}

void AppendField(const char* name, const std::optional<uint64_t>& number, std::string& to) {
  if (number.has_value()) absl::StrAppend(&to, ",\"", name, "\":", *number);
}

// The innermost scope that says it.
template <typename Field>
Field Known(Field LogFields::*field) {
  for (const LogScope* scope = t_scope; scope != nullptr; scope = scope->around) {
    const Field& value = scope->fields.*field;
    if (value != Field()) return value;
  }
  return {};
}

void AppendFields(std::string& to) {
  AppendField("job", Known(&LogFields::job), to);
  AppendField("variant", Known(&LogFields::variant), to);
  AppendField("shard", Known(&LogFields::shard), to);
  AppendField("first", Known(&LogFields::first), to);
  AppendField("count", Known(&LogFields::count), to);
  std::string worker(Known(&LogFields::worker));
  if (worker.empty()) {
    std::lock_guard lock(g_worker_mutex);
    worker = g_worker;
  }
  AppendField("worker", worker, to);
  if (const uint64_t epoch = g_epoch; epoch != 0) AppendField("epoch", std::optional(epoch), to);
  AppendField("trace", TraceId(Known(&LogFields::trace)), to);
}

class JsonFormatter : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& to) override {
    using std::chrono::duration_cast;
    const auto since = message.time.time_since_epoch();
    const auto ms = duration_cast<std::chrono::milliseconds>(since).count();
    const std::time_t seconds = ms / 1000;
    std::tm utc{};
    gmtime_r(&seconds, &utc);
    const auto level = spdlog::level::to_string_view(message.level);
    std::string line = absl::StrFormat(
        "{\"time\":\"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\",\"level\":\"%s\",\"message\":",
        utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
        static_cast<int>(ms % 1000), std::string(level.data(), level.size()));
    AppendText({message.payload.data(), message.payload.size()}, line);
    AppendFields(line);
    line += "}\n";
    to.append(line.data(), line.data() + line.size());
  }
  std::unique_ptr<formatter> clone() const override { return std::make_unique<JsonFormatter>(); }
};

}  // namespace

void StartLog(const LogOptions& options) {
  g_json = options.json;
  if (options.json) {
    spdlog::set_formatter(std::make_unique<JsonFormatter>());
  } else {
    spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %v");
  }
  spdlog::set_level(spdlog::level::from_str(options.level));
}

LogScope::LogScope(const LogFields& of) : fields(of), around(t_scope) { t_scope = this; }
LogScope::~LogScope() { t_scope = around; }

void SetLogEpoch(uint64_t epoch) { g_epoch = epoch; }

void SetLogWorker(const std::string& worker) {
  std::lock_guard lock(g_worker_mutex);
  g_worker = worker;
}

bool LogsEvents() { return g_json; }

void LogEvent(std::string_view what, const LogFields& fields) {
  if (!g_json) return;
  const LogScope scope(fields);
  spdlog::info("{}", spdlog::string_view_t(what.data(), what.size()));
}

std::string_view TraceId(std::string_view traceparent) {
  // version "-" trace id "-" parent id "-" flags, in lower-case hexadecimal digits
  constexpr size_t kLength = 55, kTraceAt = 3, kTraceLength = 32, kParentAt = 36, kFlagsAt = 53;
  if (traceparent.size() != kLength || traceparent.substr(0, kTraceAt) != "00-") return {};
  if (traceparent[kParentAt - 1] != '-' || traceparent[kFlagsAt - 1] != '-') return {};
  for (size_t i = kTraceAt; i < kLength; ++i) {
    const char c = traceparent[i];
    const bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
    if (!digit && i != kParentAt - 1 && i != kFlagsAt - 1) return {};
  }
  const std::string_view id = traceparent.substr(kTraceAt, kTraceLength);
  const bool zero =
      id.find_first_not_of('0') == std::string_view::npos ||
      traceparent.substr(kParentAt, 16).find_first_not_of('0') == std::string_view::npos;
  return zero ? std::string_view() : id;
}

std::string NewTraceparent() {
  return absl::StrCat("00-", RandomHex(16), "-", RandomHex(8), "-01");
}

}  // namespace tiltshift
