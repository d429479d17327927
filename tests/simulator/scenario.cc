#include "tests/simulator/scenario.h"

#include <functional>
#include <map>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace tiltshift::tests {
namespace {

using Set = std::function<void(double)>;

// Every field by its name, with its present value.
std::map<std::string, std::pair<double, Set>> Fields(Scenario& s) {
  std::map<std::string, std::pair<double, Set>> fields;
  const auto add = [&](const std::string& name, auto& field) {
    fields[name] = {static_cast<double>(field), [&field](double value) {
                      field = static_cast<std::decay_t<decltype(field)>>(value);
                    }};
  };
  add("workers", s.workers);
  add("slots", s.slots);
  add("seconds_each", s.seconds_each);
  add("slowest", s.slowest);
  add("jobs", s.jobs);
  add("tenants", s.tenants);
  add("variants", s.variants);
  add("minutes", s.minutes);
  add("calm_minutes", s.calm_minutes);
  add("worker_deaths", s.worker_deaths);
  add("stalls", s.stalls);
  add("broken_streams", s.broken_streams);
  add("leader_deaths", s.leader_deaths);
  add("leader_freezes", s.leader_freezes);
  add("redis_restarts", s.redis_restarts);
  add("pauses", s.pauses);
  add("cancels", s.cancels);
  add("stall_seconds", s.stall_seconds);
  add("freeze_seconds", s.freeze_seconds);
  add("repeats", s.repeats);
  add("delay_ms", s.delay_ms);
  add("killers", s.killers);
  add("broken", s.broken);
  add("bad_workers", s.bad_workers);
  return fields;
}

}  // namespace

std::string Scenario::Show() const {
  Scenario copy = *this;
  std::string text;
  for (const auto& [name, field] : Fields(copy)) {
    if (field.first != 0) absl::StrAppend(&text, name, " ", field.first, "\n");
  }
  return text;
}

absl::StatusOr<Scenario> ParseScenario(std::string_view text) {
  Scenario scenario;
  const auto fields = Fields(scenario);
  int number = 0;
  for (absl::string_view line : absl::StrSplit(absl::string_view(text.data(), text.size()), '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    const std::vector<std::string> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    const auto field = fields.find(words[0]);
    double value = 0;
    if (words.size() != 2 || field == fields.end() || !absl::SimpleAtod(words[1], &value) ||
        !(value >= 0 && value <= 1e9)) {
      std::string known;
      for (const auto& [name, unused] : fields) absl::StrAppend(&known, " ", name);
      return absl::InvalidArgumentError(
          absl::StrCat("line ", number, ": \"", line, "\" is no \"name number\"; names:", known));
    }
    field->second.second(value);
  }
  return scenario;
}

}  // namespace tiltshift::tests
