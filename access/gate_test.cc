#include "access/gate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/file.h"
#include "proto/farm.pb.h"
#include "tests/support/process.h"

namespace tiltshift::access {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kSubmitMethod[] = "/tiltshift.v1.Farm/Submit";
constexpr char kGetJob[] = "/tiltshift.v1.Farm/GetJob";
constexpr char kListJobs[] = "/tiltshift.v1.Farm/ListJobs";
constexpr char kExplain[] = "/tiltshift.v1.Farm/Explain";
constexpr char kSession[] = "/tiltshift.v1.Workers/Session";

// Two tenants: brand has the job "jbrand", contest has none.
class GateTest : public ::testing::Test {
 protected:
  GateTest() {
    tokens_.Replace({});
    options_.tokens = &tokens_;
    options_.tenant_of = [](const std::string& id) -> absl::StatusOr<std::string> {
      if (id == "jbrand") return std::string("brand");
      if (id == "jstandby") return absl::UnavailableError("stands by");
      return NoSuchJob(id);
    };
    options_.no_such_job = NoSuchJob;
  }
  static absl::Status NoSuchJob(const std::string& id) {
    return absl::NotFoundError("no job " + id);
  }
  std::string Token(const std::string& tenant, const std::vector<v1::Role>& roles) {
    v1::CreateTokenRequest request;
    request.set_tenant(tenant);
    for (const v1::Role role : roles) request.add_roles(role);
    const auto made = TokenBook::Make(request, clock_.UnixMs());
    tokens_.Put(made->stored);
    return made->secret;
  }
  static CallFacts Facts(const std::string& method, const std::string& token) {
    return {method, "ipv4:10.0.0.7:1234", {"Bearer " + token}, ""};
  }
  // What a call with this message comes to.
  absl::Status Call(const std::string& method, const std::string& token,
                    google::protobuf::Message& message) {
    const Gate gate(options_, clock_);
    auto admission = gate.Begin(Facts(method, token));
    if (!admission.ok()) return admission.status();
    const absl::Status status = gate.Admit(**admission, message);
    gate.End(**admission, status, nullptr);
    return status;
  }
  absl::StatusCode Begin(const CallFacts& facts) {
    return Gate(options_, clock_).Begin(facts).status().code();
  }

  ManualClock clock_;
  TokenBook tokens_;
  GateOptions options_;
};

TEST_F(GateTest, NobodyGetsInWithoutAToken) {
  const std::string token = Token("brand", {v1::ROLE_READ});
  using Code = absl::StatusCode;
  EXPECT_EQ(Begin({kGetJob, "", {}, ""}), Code::kUnauthenticated);
  EXPECT_EQ(Begin({kGetJob, "", {token}, ""}), Code::kUnauthenticated);
  EXPECT_EQ(Begin({kGetJob, "", {"Basic " + token}, ""}), Code::kUnauthenticated);
  EXPECT_EQ(Begin({kGetJob, "", {"Bearer " + token, "Bearer " + token}, ""}),
            Code::kUnauthenticated);
  EXPECT_EQ(Begin({kGetJob, "", {"bearer " + token}, ""}), Code::kOk);
  EXPECT_EQ(Begin({"/tiltshift.v1.Farm/Nothing", "", {}, ""}), Code::kUnauthenticated)
      << "which methods there are is nobody's business either";
  EXPECT_EQ(Begin({"/tiltshift.v1.Farm/Nothing", "", {"Bearer " + token}, ""}), Code::kOk);
  options_.tokens = nullptr;
  EXPECT_EQ(Begin({kGetJob, "", {}, ""}), Code::kOk);
}

TEST_F(GateTest, ARoleMayWhatItsRulesSay) {
  const std::string reads = Token("brand", {v1::ROLE_READ});
  const absl::Status status = Gate(options_, clock_).Begin(Facts(kSubmitMethod, reads)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(Message(status), AllOf(HasSubstr("may read;"), HasSubstr("tiltshift.v1.Farm/Submit"),
                                     HasSubstr("submit, operate")));
  const std::string works = Token("brand", {v1::ROLE_WORKER});
  EXPECT_EQ(Begin(Facts(kSession, works)), absl::StatusCode::kOk);
  EXPECT_EQ(Begin(Facts(kGetJob, works)), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(Begin(Facts(kSession, Token("brand", {v1::ROLE_OPERATE}))),
            absl::StatusCode::kPermissionDenied);
  options_.worker_certificates = true;
  EXPECT_EQ(Begin(Facts(kSession, works)), absl::StatusCode::kUnauthenticated);
  CallFacts shown = Facts(kSession, works);
  shown.certificate = "render-7";
  EXPECT_EQ(Begin(shown), absl::StatusCode::kOk);
}

// To the letter, so that nobody can tell by asking which jobs there are.
TEST_F(GateTest, AnothersJobIsNone) {
  v1::GetJobRequest get;
  get.set_job_id("jbrand");
  const std::string contest = Token("contest", {v1::ROLE_READ, v1::ROLE_SUBMIT});
  EXPECT_TRUE(Call(kGetJob, Token("brand", {v1::ROLE_READ}), get).ok());
  EXPECT_TRUE(Call(kGetJob, Token("contest", {v1::ROLE_OPERATE}), get).ok());
  EXPECT_EQ(Call(kGetJob, contest, get), NoSuchJob("jbrand"));
  get.set_job_id("jnone");
  EXPECT_EQ(Call(kGetJob, contest, get), NoSuchJob("jnone"));
  get.set_job_id("jstandby");
  EXPECT_EQ(Call(kGetJob, contest, get).code(), absl::StatusCode::kUnavailable);
  v1::ExplainRequest explain;
  explain.mutable_variant()->set_job_id("jbrand");
  EXPECT_EQ(Call(kExplain, contest, explain), NoSuchJob("jbrand"));
  EXPECT_EQ(explain.subject_case(), v1::ExplainRequest::kVariant) << "a look changes nothing";
  explain.set_worker_id("w");
  EXPECT_EQ(Call(kExplain, contest, explain).code(), absl::StatusCode::kPermissionDenied);
  EXPECT_TRUE(Call(kExplain, Token("contest", {v1::ROLE_OPERATE}), explain).ok());
}

TEST_F(GateTest, ASubmissionIsTheTokens) {
  const std::string brand = Token("brand", {v1::ROLE_SUBMIT});
  v1::SubmitRequest submit;
  EXPECT_TRUE(Call(kSubmitMethod, brand, submit).ok());
  EXPECT_EQ(submit.spec().tenant(), "brand");
  EXPECT_TRUE(Call(kSubmitMethod, brand, submit).ok()) << "who names it right is right";
  submit.mutable_spec()->set_tenant("contest");
  EXPECT_EQ(Call(kSubmitMethod, brand, submit).code(), absl::StatusCode::kPermissionDenied);
  const std::string operates = Token("ops", {v1::ROLE_OPERATE});
  EXPECT_TRUE(Call(kSubmitMethod, operates, submit).ok());
  EXPECT_EQ(submit.spec().tenant(), "contest");
  submit.clear_spec();
  EXPECT_TRUE(Call(kSubmitMethod, operates, submit).ok());
  EXPECT_EQ(submit.spec().tenant(), "ops");
  // Whoever operates lists everybody's, unless told not to; others their own.
  v1::ListJobsRequest list;
  EXPECT_TRUE(Call(kListJobs, operates, list).ok());
  EXPECT_EQ(list.tenant(), "");
  EXPECT_TRUE(Call(kListJobs, Token("brand", {v1::ROLE_READ}), list).ok());
  EXPECT_EQ(list.tenant(), "brand");
}

TEST_F(GateTest, TheLogHasWhatChangesAndWhatWasRefused) {
  const std::string path = tests::FreshFolder() + "/audit.log";
  const auto log = AuditLog::Open(path);
  ASSERT_TRUE(log.ok());
  options_.log = log->get();
  const std::string token = Token("contest", {v1::ROLE_READ, v1::ROLE_SUBMIT});
  v1::GetJobRequest get;
  get.set_job_id("jbrand");
  Call(kGetJob, token, get).IgnoreError();
  v1::ListJobsRequest list;
  EXPECT_TRUE(Call(kListJobs, token, list).ok());
  Begin({"/a\nb", "ipv4:10.0.0.7:1", {"Bearer " + token.substr(0, 40)}, ""});
  // A submission's job is known from its answer.
  const Gate gate(options_, clock_);
  auto admission = gate.Begin(Facts(kSubmitMethod, token));
  v1::SubmitRequest submit;
  submit.mutable_spec()->set_prompt("a secret wish");
  ASSERT_TRUE(gate.Admit(**admission, submit).ok());
  v1::SubmitResponse response;
  response.set_job_id("jnew");
  gate.End(**admission, absl::OkStatus(), &response);
  const std::string text = *ReadFile(path);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3);
  EXPECT_THAT(text,
              HasSubstr(R"("job":"jbrand","code":"NOT_FOUND","why":"a job of tenant brand")"));
  EXPECT_THAT(text, HasSubstr(R"("method":"a?b","code":"UNAUTHENTICATED")"));
  EXPECT_THAT(text, HasSubstr(R"("tenant":"contest","method":"tiltshift.v1.Farm/Submit",)"
                              R"("job":"jnew","code":"OK","peer":"ipv4:10.0.0.7:1234")"));
  EXPECT_THAT(text, Not(HasSubstr("secret wish")));
  EXPECT_THAT(text, Not(HasSubstr(token.substr(16))));
}

TEST_F(GateTest, OperatorsAndWorkersAreNotHeldUp) {
  RateLimits limits({{"*", {.calls = 0.1}}});
  options_.limits = &limits;
  const std::string reads = Token("brand", {v1::ROLE_READ});
  EXPECT_EQ(Begin(Facts(kGetJob, reads)), absl::StatusCode::kOk);
  EXPECT_EQ(Begin(Facts(kGetJob, reads)), absl::StatusCode::kResourceExhausted);
  const std::string operates = Token("brand", {v1::ROLE_OPERATE});
  for (int i = 0; i < 10; ++i) EXPECT_EQ(Begin(Facts(kGetJob, operates)), absl::StatusCode::kOk);
}

}  // namespace
}  // namespace tiltshift::access
