#include "access/gate.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"

namespace tiltshift::access {
namespace {

using google::protobuf::FieldDescriptor;

constexpr char kScheme[] = "bearer ";
constexpr size_t kLongestSaid = 100;

std::vector<std::string> Paths(const char* paths) {
  return absl::StrSplit(paths, ' ', absl::SkipEmpty());
}

// Sets a string field, found by its path: "spec.tenant". The method's message has it.
void SetField(google::protobuf::Message& message, const std::string& path,
              const std::string& value) {
  google::protobuf::Message* at = &message;
  const std::vector<std::string> names = absl::StrSplit(path, '.');
  for (size_t i = 0; i < names.size(); ++i) {
    const FieldDescriptor* field = at->GetDescriptor()->FindFieldByName(names[i]);
    if (i + 1 == names.size()) return at->GetReflection()->SetString(at, field, value);
    at = at->GetReflection()->MutableMessage(at, field);
  }
}

// Empty where there is none. Changes nothing: of a oneof, a mutable look would choose.
std::string ValueOf(const google::protobuf::Message& message, const std::string& path) {
  const google::protobuf::Message* at = &message;
  const std::vector<std::string> names = absl::StrSplit(path, '.');
  for (size_t i = 0; i < names.size(); ++i) {
    const FieldDescriptor* field = at->GetDescriptor()->FindFieldByName(names[i]);
    if (field == nullptr) return "";
    if (i + 1 == names.size()) {
      const bool text =
          field->cpp_type() == FieldDescriptor::CPPTYPE_STRING && !field->is_repeated();
      return text ? at->GetReflection()->GetString(*at, field) : "";
    }
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE || field->is_repeated()) return "";
    at = &at->GetReflection()->GetMessage(*at, field);
  }
  return "";
}

// As it may stand in a log: a caller chose it.
std::string Printable(const std::string& said) {
  std::string text = said.substr(said.find_first_not_of('/') == 1 ? 1 : 0, kLongestSaid);
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c > 0x7e; }, '?');
  return text;
}

absl::Status NoToken() {
  return absl::UnauthenticatedError(
      "this farm asks who calls: give a token, with --token-file or TILTSHIFT_TOKEN "
      "(docs/security.md)");
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Caller>> Gate::FindCaller(const CallFacts& facts) const {
  if (facts.authorization.size() != 1) return NoToken();
  const std::string& said = facts.authorization[0];
  if (!absl::StartsWithIgnoreCase(said, kScheme)) return NoToken();
  return options_.tokens->Find(std::string_view(said).substr(sizeof(kScheme) - 1), clock_.UnixMs());
}

absl::Status Gate::MayCall(const CallFacts& facts, const Admission& admission) const {
  const MethodRule* rule = admission.rule;
  const Caller& caller = *admission.caller;
  if (rule == nullptr) return absl::OkStatus();
  if ((rule->roles & caller.roles()) == 0) {
    return absl::PermissionDeniedError(
        absl::StrCat("token ", caller.id(), " may ", RoleNames(caller.roles()), "; ",
                     Printable(facts.method), " is for those who ", RoleNames(rule->roles)));
  }
  if (rule->roles == kWorker && options_.worker_certificates && facts.certificate.empty()) {
    return absl::UnauthenticatedError(
        "this farm asks its workers for a certificate: give one, with --tls-cert and --tls-key");
  }
  if (options_.limits == nullptr || (caller.roles() & (kOperate | kWorker)) != 0)
    return absl::OkStatus();
  return options_.limits->TakeCall(caller.tenant(), {rule->submits, rule->uploads},
                                   clock_.UnixMs());
}

absl::StatusOr<std::shared_ptr<Admission>> Gate::Begin(const CallFacts& facts) const {
  auto admission = std::make_shared<Admission>();
  admission->rule = RuleOf(facts.method);
  admission->peer = facts.peer;
  admission->certificate = facts.certificate;
  if (options_.tokens == nullptr) return admission;
  const bool shown = options_.worker_certificates && !facts.certificate.empty();
  if (admission->rule != nullptr && admission->rule->certificate && shown &&
      facts.authorization.empty()) {
    return admission;
  }
  auto caller = FindCaller(facts);
  absl::Status status = caller.status();
  if (caller.ok()) {
    admission->caller = *std::move(caller);
    status = MayCall(facts, *admission);
  }
  if (status.ok()) return admission;
  if (!absl::IsUnavailable(status)) {
    admission->why = Message(status);
    Write(*admission, facts.method, status);
  }
  return status;
}

absl::Status Gate::CheckJob(Admission& admission, const std::string& id) const {
  if (id.empty()) return absl::OkStatus();
  if (admission.subject.empty()) admission.subject = Printable(id);
  if (admission.caller == nullptr || admission.caller->operates()) return absl::OkStatus();
  const auto tenant = options_.tenant_of(id);
  if (!tenant.ok()) {
    admission.refused = !absl::IsUnavailable(tenant.status());
    admission.why = "no such job";
    return tenant.status();
  }
  if (*tenant == admission.caller->tenant()) return absl::OkStatus();
  admission.refused = true;
  admission.why = absl::StrCat("a job of tenant ", *tenant);
  return options_.no_such_job(id);
}

// Of the job that an operator names; empty: none is named.
std::string Gate::TenantNamed(const MethodRule& rule,
                              const google::protobuf::Message& message) const {
  for (const std::string& path : Paths(rule.jobs)) {
    const std::string id = ValueOf(message, path);
    if (!id.empty()) return options_.tenant_of(id).value_or("");
  }
  return "";
}

absl::Status Gate::Admit(Admission& admission, google::protobuf::Message& message) const {
  const MethodRule* rule = admission.rule;
  if (rule == nullptr) return absl::OkStatus();
  const Caller* caller = admission.caller.get();
  const bool all = caller == nullptr || caller->operates();
  const auto deny = [&](const std::string& why) {
    admission.refused = true;
    admission.why = why;
    return absl::PermissionDeniedError(why);
  };
  for (const std::string& path : Paths(rule->caller))
    SetField(message, path, caller == nullptr ? "" : caller->id());
  for (const std::string& path : Paths(rule->operators)) {
    if (!all && !ValueOf(message, path).empty())
      return deny(absl::StrCat(path, ": only a token that may operate names one"));
  }
  for (const std::string& path : Paths(rule->tenants)) {
    if (caller == nullptr) continue;
    const std::string tenant = ValueOf(message, path);
    if (tenant.empty()) {
      const bool own = !all || rule->uploads;
      const std::string whose = own ? caller->tenant() : TenantNamed(*rule, message);
      if (!whose.empty()) SetField(message, path, whose);
    } else if (!all && tenant != caller->tenant()) {
      return deny(absl::StrCat(path, ": the token is of tenant ", caller->tenant(),
                               "; leave it out, or name that one"));
    }
  }
  for (const std::string& path : Paths(rule->jobs))
    TS_RETURN_IF_ERROR(CheckJob(admission, ValueOf(message, path)));
  if (admission.subject.empty()) admission.subject = Printable(ValueOf(message, "token_id"));
  return absl::OkStatus();
}

void Gate::Count(const Admission& admission, size_t bytes) const {
  if (options_.limits == nullptr || admission.caller == nullptr || admission.rule == nullptr ||
      !admission.rule->uploads || admission.caller->operates())
    return;
  options_.limits->TakeBytes(admission.caller->tenant(), bytes, clock_.UnixMs());
}

void Gate::End(Admission& admission, const absl::Status& status,
               const google::protobuf::Message* response) const {
  const MethodRule* rule = admission.rule;
  if (rule == nullptr || !(rule->changes || admission.refused)) return;
  if (response != nullptr && admission.subject.empty()) {
    admission.subject = ValueOf(*response, "job_id");
    if (admission.subject.empty()) admission.subject = ValueOf(*response, "token.id");
  }
  Write(admission, rule->method, status);
}

void Gate::Write(const Admission& admission, const std::string& method,
                 const absl::Status& status) const {
  if (options_.log == nullptr) return;
  v1::AuditLine line;
  if (admission.caller != nullptr) {
    line.set_token(admission.caller->id());
    line.set_tenant(admission.caller->tenant());
  }
  line.set_method(Printable(method));
  line.set_job(admission.subject);
  line.set_code(absl::StatusCodeToString(status.code()));
  line.set_why(admission.why);
  line.set_peer(admission.peer);
  line.set_certificate(Printable(admission.certificate));
  const int64_t now_ms = clock_.UnixMs();
  const absl::Status written =
      status.ok() ? options_.log->Write(line, now_ms) : options_.log->WriteRefusal(line, now_ms);
  if (!written.ok()) options_.complain(written);
}

}  // namespace tiltshift::access
