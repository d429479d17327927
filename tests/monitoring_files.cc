#include "tests/monitoring_files.h"

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>
#include <stdexcept>

#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"

namespace tiltshift::tests {
namespace {

std::string Read(const std::string& file) {
  std::ifstream stream(file);
  if (!stream) throw std::runtime_error("can't read " + file);
  return (std::stringstream() << stream.rdbuf()).str();
}

std::string NameOf(const std::string& file) { return std::filesystem::path(file).filename(); }

}  // namespace

// The rules are plain enough to be read by their lines: an expression stands behind "expr:", or is
// folded into the lines below it.
std::vector<Query> RuleQueries(const std::string& rules_file) {
  std::vector<Query> queries;
  std::istringstream lines(Read(rules_file));
  Query query;
  const std::regex named("^ *- (record|alert): (.*)$"), told("^( *)expr: (.*)$");
  std::smatch match;
  bool folded = false;
  size_t indent = 0;
  const auto finish = [&] {
    if (folded) queries.push_back(query);
    folded = false;
  };
  for (std::string line; std::getline(lines, line);) {
    const size_t deep = line.find_first_not_of(' ');
    if (folded && deep != std::string::npos && deep > indent) {
      query.text += line.substr(deep) + " ";
      continue;
    }
    finish();
    if (std::regex_match(line, match, named)) {
      query = {NameOf(rules_file) + ": " + match[2].str(), "", match[1] == "alert"};
    } else if (std::regex_match(line, match, told)) {
      folded = match[2] == ">-";
      indent = match[1].length();
      query.text = folded ? "" : match[2].str();
      if (!folded) queries.push_back(query);
    }
  }
  finish();
  return queries;
}

std::vector<Query> PanelQueries(const std::string& dashboard_file) {
  const auto dashboard = nlohmann::json::parse(Read(dashboard_file));
  std::vector<std::pair<std::string, std::string>> values;
  for (const auto& variable : dashboard["templating"]["list"]) {
    if (variable["type"] == "datasource") continue;
    std::string value = variable["current"]["value"];
    if (value == "$__all") value = variable["allValue"];
    values.emplace_back("$" + variable["name"].get<std::string>(), value);
  }
  std::vector<Query> queries;
  for (const auto& panel : dashboard["panels"]) {
    for (const auto& target : panel["targets"]) {
      queries.push_back({NameOf(dashboard_file) + ": " + panel["title"].get<std::string>(),
                         absl::StrReplaceAll(target["expr"].get<std::string>(), values)});
    }
  }
  return queries;
}

std::set<std::string> Selectors(const std::string& query) {
  const std::regex selector("\\b(tiltshift[a-z0-9_:]+|up)\\b(\\{[^}]*\\})?");
  std::set<std::string> selectors;
  for (std::sregex_iterator it(query.begin(), query.end(), selector), end; it != end; ++it)
    selectors.insert((*it)[1].str() + (*it)[2].str());
  return selectors;
}

}  // namespace tiltshift::tests
