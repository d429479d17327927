// What monitoring/ says and the code does not know, or the runbook does not explain, fails here;
// and each alert is tried on series that should and should not raise it.
#include "tests/monitoring_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <regex>

#include "base/file.h"
#include "tests/support/process.h"

namespace tiltshift::tests {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

const std::string kSource = TILTSHIFT_SOURCE_DIR;
const std::string kMonitoring = kSource + "/monitoring/";

std::vector<Query> AllQueries() {
  std::vector<Query> all;
  for (const char* file : {"rules/recording.yaml", "rules/alerts.yaml"})
    for (Query& query : RuleQueries(kMonitoring + file)) all.push_back(std::move(query));
  for (const auto& file : fs::directory_iterator(kMonitoring + "grafana"))
    if (file.path().extension() == ".json")
      for (Query& query : PanelQueries(file.path())) all.push_back(std::move(query));
  return all;
}

std::string Sources() {
  std::string text;
  for (const auto& file : fs::directory_iterator(kMonitoring))
    if (file.path().extension() == ".cc") text += *ReadFile(file.path());
  return text;
}

int RunCommand(const std::vector<std::string>& command, std::string* said) {
  Process process(command, FreshFolder());
  const int code = process.Wait(60'000);
  *said = process.Output() + process.Errors();
  return code;
}

TEST(MonitoringFiles, QueriesNameWhatTheCodeExports) {
  const std::string sources = Sources(), docs = *ReadFile(kSource + "/docs/metrics.md");
  std::string recorded;
  for (const Query& query : RuleQueries(kMonitoring + "rules/recording.yaml"))
    recorded += query.where + "\n";
  const std::regex of_histogram("_(bucket|sum|count)$");
  std::set<std::string> known;
  const auto queries = AllQueries();
  EXPECT_GT(queries.size(), 80u);
  for (const Query& query : queries) {
    EXPECT_FALSE(Selectors(query.text).empty() && query.text.find("ALERTS") == std::string::npos)
        << query.where << " names no series: " << query.text;
    for (const std::string& selector : Selectors(query.text)) {
      std::string name = selector.substr(0, selector.find('{'));
      if (name == "up") continue;
      if (name.find(':') != std::string::npos) {
        EXPECT_THAT(recorded, HasSubstr(": " + name + "\n")) << query.where;
        continue;
      }
      if (sources.find('"' + name + '"') == std::string::npos)
        name = std::regex_replace(name, of_histogram, "");
      EXPECT_THAT(sources, HasSubstr('"' + name + '"')) << query.where;
      known.insert(name);
    }
  }
  for (const std::string& name : known) EXPECT_THAT(docs, HasSubstr('`' + name)) << name;
}

TEST(MonitoringFiles, MetricsOfTheCodeAreDocumented) {
  const std::string sources = Sources(), docs = *ReadFile(kSource + "/docs/metrics.md");
  const std::regex exported("\"(tiltshift_[a-z_]+)\"");
  std::set<std::string> names;
  for (std::sregex_iterator it(sources.begin(), sources.end(), exported), end; it != end; ++it)
    names.insert((*it)[1]);
  EXPECT_GT(names.size(), 40u);
  for (const std::string& name : names) EXPECT_THAT(docs, HasSubstr('`' + name)) << name;
}

TEST(MonitoringFiles, EachAlertHasItsTestAndItsSectionInTheRunbook) {
  const std::string runbook = *ReadFile(kSource + "/docs/runbook.md");
  const std::string tests = *ReadFile(kMonitoring + "rules/tests/alerts_test.yaml");
  int alerts = 0;
  for (const Query& query : RuleQueries(kMonitoring + "rules/alerts.yaml")) {
    ASSERT_TRUE(query.is_alert);
    const std::string name = query.where.substr(query.where.find(": ") + 2);
    ++alerts;
    EXPECT_THAT(runbook, HasSubstr("\n## " + name + "\n"));
    EXPECT_THAT(tests, HasSubstr("name: " + name + " fires"));
    EXPECT_THAT(tests, HasSubstr("name: " + name + " is silent"));
  }
  EXPECT_GT(alerts, 15);
}

TEST(MonitoringFiles, EachAlertFiresWhenItShouldAndNotElse) {
  std::string said;
  const int code = RunCommand(
      {"promtool", "test", "rules", kMonitoring + "rules/tests/alerts_test.yaml"}, &said);
  if (code == 127) GTEST_SKIP() << "no promtool here; scripts/setup installs Prometheus";
  EXPECT_EQ(code, 0) << said;
  EXPECT_THAT(said, HasSubstr("SUCCESS"));
  EXPECT_EQ(RunCommand({"promtool", "check", "config", kMonitoring + "prometheus.yaml"}, &said), 0)
      << said;
}

TEST(MonitoringFiles, DashboardsAreAsTheyAreGenerated) {
  std::string said;
  EXPECT_EQ(RunCommand({"python3", kMonitoring + "grafana/dashboards.py", "--check"}, &said), 0)
      << said;
}

}  // namespace
}  // namespace tiltshift::tests
