// The queries of monitoring/: of rules and of dashboards.
#pragma once

#include <set>
#include <string>
#include <vector>

namespace tiltshift::tests {

struct Query {
  std::string where;  // "fleet.json: Epoch", "alerts.yaml: TiltshiftNoLeader"
  std::string text;   // of a dashboard: with its variables at their defaults
  bool is_alert = false;
};

// Throws where a file can't be read.
std::vector<Query> RuleQueries(const std::string& rules_file);
std::vector<Query> PanelQueries(const std::string& dashboard_file);

// The selectors of a query: `tiltshift_jobs{state="done"}`.
std::set<std::string> Selectors(const std::string& query);

}  // namespace tiltshift::tests
