// The rules of tenants, from a YAML file:
//
//   brand:   {weight: 3}
//   contest: {weight: 1, jobs: 20, leased: 500, submissions_per_s: 2}
//   "*":     {jobs: 5}          # every other
#pragma once

#include <map>
#include <string>

#include "base/status.h"
#include "scheduler/farm.h"

namespace tiltshift::scheduler {

// InvalidArgument names the file, the tenant and the field.
absl::StatusOr<std::map<std::string, TenantRule>> ReadTenants(const std::string& path);

// The tenant's, or that of "*", or none.
const TenantRule& RuleOf(const std::map<std::string, TenantRule>& rules, const std::string& tenant);

}  // namespace tiltshift::scheduler
