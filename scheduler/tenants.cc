#include "scheduler/tenants.h"

#include "absl/strings/numbers.h"
#include "base/file.h"
#include "plan/yaml_tree.h"

namespace tiltshift::scheduler {
namespace {

using plan::YamlNode;

constexpr char kFields[] =
    "weight, jobs, leased, stored_mb, photos_mb, calls_per_s, submissions_per_s, upload_mb_per_s";
constexpr uint64_t kMostStoredMb = 1'000'000'000'000;

// Where the field of that name belongs; null: it is no rate.
double* RateOf(const std::string& name, access::RateRule& rates) {
  if (name == "calls_per_s") return &rates.calls;
  if (name == "submissions_per_s") return &rates.submissions;
  return name == "upload_mb_per_s" ? &rates.uploaded_bytes : nullptr;
}

absl::Status ReadRule(const std::string& path, const std::string& tenant, const YamlNode& node,
                      TenantRule* rule) {
  const auto error = [&](const YamlNode& at, const std::string& what) {
    return plan::YamlError(path, at.line, absl::StrCat(tenant, ": ", what));
  };
  if (node.kind != YamlNode::Kind::kMap)
    return error(node, absl::StrCat("expected fields (", kFields, ")"));
  for (const auto& [name, value] : node.fields) {
    const bool scalar = value.kind == YamlNode::Kind::kScalar;
    if (name == "weight") {
      if (!scalar || !absl::SimpleAtod(value.scalar, &rule->weight) ||
          !(rule->weight > 0 && rule->weight <= 1e6)) {
        return error(value, "weight: expected a number above 0, at most 1000000");
      }
    } else if (name == "jobs" || name == "leased") {
      uint64_t& bound = name == "jobs" ? rule->jobs : rule->leased;
      if (!scalar || !absl::SimpleAtoi(value.scalar, &bound))
        return error(value, name + ": expected a whole number; 0 is no bound");
    } else if (name == "stored_mb" || name == "photos_mb") {
      uint64_t& bound = name == "stored_mb" ? rule->stored : rule->photos;
      if (!scalar || !absl::SimpleAtoi(value.scalar, &bound) || bound > kMostStoredMb)
        return error(value, name + ": expected a whole number of megabytes; 0 is no bound");
      bound *= 1'000'000;
    } else if (double* rate = RateOf(name, rule->rates); rate != nullptr) {
      if (!scalar || !absl::SimpleAtod(value.scalar, rate) || !(*rate >= 0 && *rate <= 1e9))
        return error(value, name + ": expected a number, so many a second; 0 is no bound");
    } else {
      return error(value, absl::StrCat(name, ": unknown field; known are: ", kFields));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::map<std::string, TenantRule>> ReadTenants(const std::string& path) {
  TS_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  TS_ASSIGN_OR_RETURN(const YamlNode root, plan::ParseYaml(text, path));
  std::map<std::string, TenantRule> rules;
  if (root.kind != YamlNode::Kind::kMap)
    return plan::YamlError(path, root.line, "expected tenants, each with fields");
  for (const auto& [tenant, node] : root.fields) {
    TS_RETURN_IF_ERROR(ReadRule(path, tenant, node, &rules[tenant]));
    rules[tenant].rates.uploaded_bytes *= 1e6;
  }
  return rules;
}

const TenantRule& RuleOf(const std::map<std::string, TenantRule>& rules,
                         const std::string& tenant) {
  static const TenantRule kNone;
  auto rule = rules.find(tenant);
  if (rule == rules.end()) rule = rules.find("*");
  return rule == rules.end() ? kNone : rule->second;
}

}  // namespace tiltshift::scheduler
