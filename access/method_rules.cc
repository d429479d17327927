#include "access/method_rules.h"

#include <algorithm>
#include <iterator>

namespace tiltshift::access {
namespace {

constexpr Roles kAny = kSubmit | kRead | kOperate | kWorker;
constexpr Roles kSee = kSubmit | kRead | kOperate;
constexpr Roles kChange = kSubmit | kOperate;

constexpr MethodRule kRules[] = {
    {.method = "/tiltshift.v1.Farm/Submit",
     .roles = kChange,
     .tenants = "spec.tenant",
     .changes = true,
     .submits = true,
     .uploads = true},
    {.method = "/tiltshift.v1.Farm/AppendEntries",
     .roles = kChange,
     .jobs = "job_id",
     .changes = true,
     .submits = true,
     .uploads = true},
    {.method = "/tiltshift.v1.Farm/ListEntries", .roles = kSee, .jobs = "job_id"},
    {.method = "/tiltshift.v1.Farm/GetJob", .roles = kSee, .jobs = "job_id"},
    {.method = "/tiltshift.v1.Farm/ListJobs", .roles = kRead | kOperate, .tenants = "tenant"},
    {.method = "/tiltshift.v1.Farm/WatchJob", .roles = kSee, .jobs = "job_id"},
    {.method = "/tiltshift.v1.Farm/CancelJob", .roles = kChange, .jobs = "job_id", .changes = true},
    {.method = "/tiltshift.v1.Farm/PauseJob", .roles = kChange, .jobs = "job_id", .changes = true},
    {.method = "/tiltshift.v1.Farm/ResumeJob", .roles = kChange, .jobs = "job_id", .changes = true},
    {.method = "/tiltshift.v1.Farm/RetryFailed",
     .roles = kChange,
     .jobs = "job_id",
     .changes = true},
    {.method = "/tiltshift.v1.Farm/SetPriority",
     .roles = kChange,
     .jobs = "job_id",
     .changes = true},
    {.method = "/tiltshift.v1.Farm/Explain",
     .roles = kSee,
     .jobs = "job_id variant.job_id",
     .operators = "worker_id"},
    {.method = "/tiltshift.v1.Farm/ReadOutputs", .roles = kSee, .jobs = "job_id"},
    {.method = "/tiltshift.v1.Farm/ListVariants", .roles = kSee, .jobs = "job_id"},
    {.method = "/tiltshift.v1.Farm/ReadPicture", .roles = kSee, .jobs = "job_id"},
    {.method = "/tiltshift.v1.Farm/ListWorkers", .roles = kOperate},
    {.method = "/tiltshift.v1.Farm/UploadPhoto",
     .roles = kChange,
     .tenants = "start.tenant",
     .changes = true,
     .uploads = true},
    {.method = "/tiltshift.v1.Farm/Forget",
     .roles = kChange,
     .jobs = "job_id",
     .tenants = "tenant",
     .changes = true},
    {.method = "/tiltshift.v1.Farm/ListReceipts",
     .roles = kSee,
     .jobs = "job_id",
     .tenants = "tenant"},
    {.method = "/tiltshift.v1.Tokens/CreateToken", .roles = kOperate, .changes = true},
    {.method = "/tiltshift.v1.Tokens/RevokeToken", .roles = kOperate, .changes = true},
    {.method = "/tiltshift.v1.Tokens/ListTokens", .roles = kOperate},
    {.method = "/tiltshift.v1.Tokens/WhoAmI", .roles = kAny, .caller = "token_id"},
    {.method = "/tiltshift.v1.Workers/Session", .roles = kWorker, .changes = true},
    // The key of a photo: who had it is worth a line as well.
    {.method = "/tiltshift.v1.Workers/OpenPhoto",
     .roles = kWorker,
     .jobs = "job_id",
     .changes = true},
    // KEDA has no tokens to give, but certificates.
    {.method = "/externalscaler.ExternalScaler/IsActive", .roles = kOperate, .certificate = true},
    {.method = "/externalscaler.ExternalScaler/StreamIsActive",
     .roles = kOperate,
     .certificate = true},
    {.method = "/externalscaler.ExternalScaler/GetMetricSpec",
     .roles = kOperate,
     .certificate = true},
    {.method = "/externalscaler.ExternalScaler/GetMetrics", .roles = kOperate, .certificate = true},
    {.method = "/grpc.health.v1.Health/Check", .roles = kAny},
    {.method = "/grpc.health.v1.Health/Watch", .roles = kAny},
    {.method = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", .roles = kAny},
};

}  // namespace

const MethodRule* RuleOf(const std::string& method) {
  const auto* rule = std::find_if(std::begin(kRules), std::end(kRules),
                                  [&](const MethodRule& rule) { return method == rule.method; });
  return rule == std::end(kRules) ? nullptr : rule;
}

}  // namespace tiltshift::access
