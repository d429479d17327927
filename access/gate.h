// The one place where calls are let in: who calls (token_book.h), whether they may call this method
// and name these jobs and tenants (method_rules.h), how often (rate_limits.h), and what is kept of
// it (audit_log.h). It knows nothing of how calls come; scheduler/call_server.h asks it.
#pragma once

#include <google/protobuf/message.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "access/audit_log.h"
#include "access/method_rules.h"
#include "access/rate_limits.h"
#include "access/token_book.h"
#include "base/clock.h"

namespace tiltshift::access {

struct GateOptions {
  // Null: nobody is asked who they are, and everybody may do everything.
  TokenBook* tokens = nullptr;
  AuditLog* log = nullptr;           // null: nothing is written
  RateLimits* limits = nullptr;      // null: nobody asks too much
  bool worker_certificates = false;  // workers must have shown one
  // The tenant of a job; the error that a caller gets where there is no such job.
  std::function<absl::StatusOr<std::string>(const std::string& job_id)> tenant_of;
  // That error, of a job that is there, to the letter.
  std::function<absl::Status(const std::string& job_id)> no_such_job;
  // The log could not be written.
  std::function<void(const absl::Status&)> complain = [](const absl::Status&) {};
};

// What is known of a call before its first message.
struct CallFacts {
  std::string method, peer;
  std::vector<std::string> authorization;  // metadata of that name
  std::string certificate;  // whom it names; empty: none was shown, or it was not asked for
};

// A call that was let in, until it ends. Of the call's own thread.
struct Admission {
  const MethodRule* rule = nullptr;      // null: there is no such method
  std::shared_ptr<const Caller> caller;  // null: nobody is asked
  std::string peer, certificate;
  std::string subject;  // the job, or the token, that it is about
  bool refused = false;
  std::string why;
};

// Any thread.
class Gate {
 public:
  Gate(GateOptions options, const Clock& clock) : options_(std::move(options)), clock_(clock) {}

  // Unauthenticated, PermissionDenied, ResourceExhausted; Unavailable where no tokens are known
  // yet.
  absl::StatusOr<std::shared_ptr<Admission>> Begin(const CallFacts& facts) const;

  // The call's (first) message. Fields that say whose something is are filled in. PermissionDenied
  // names the field; a job of another tenant is answered as one that is none.
  absl::Status Admit(Admission& admission, google::protobuf::Message& message) const;
  // So many bytes came with a message of it.
  void Count(const Admission& admission, size_t bytes) const;

  // The call has this status; `response` is the one that comes with it, or null. Once a call,
  // before the caller is told.
  void End(Admission& admission, const absl::Status& status,
           const google::protobuf::Message* response) const;

 private:
  absl::StatusOr<std::shared_ptr<const Caller>> FindCaller(const CallFacts& facts) const;
  absl::Status MayCall(const CallFacts& facts, const Admission& admission) const;
  absl::Status CheckJob(Admission& admission, const std::string& id) const;
  std::string TenantNamed(const MethodRule& rule, const google::protobuf::Message& message) const;
  void Write(const Admission& admission, const std::string& method,
             const absl::Status& status) const;

  const GateOptions options_;
  const Clock& clock_;
};

}  // namespace tiltshift::access
