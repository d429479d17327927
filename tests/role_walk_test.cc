// I7: every method that a scheduler says it has, called by everybody there is, with their own job,
// another tenant's and none. What is new fails here until it says who may call it.
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "proto/externalscaler.pb.h"
#include "proto/health.grpc.pb.h"
#include "proto/reflection.grpc.pb.h"
#include "tests/support/guarded_farm.h"

namespace tiltshift::tests {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using grpc::StatusCode;
using grpc::reflection::v1alpha::ServerReflection;
using grpc::reflection::v1alpha::ServerReflectionRequest;
using grpc::reflection::v1alpha::ServerReflectionResponse;

// Who may call what: written once more, apart from the code that is tested.
const std::map<std::string, std::string> kMayCall = {
    {"tiltshift.v1.Farm/Submit", "submit operate"},
    {"tiltshift.v1.Farm/AppendEntries", "submit operate"},
    {"tiltshift.v1.Farm/ListEntries", "submit read operate"},
    {"tiltshift.v1.Farm/GetJob", "submit read operate"},
    {"tiltshift.v1.Farm/ListJobs", "read operate"},
    {"tiltshift.v1.Farm/WatchJob", "submit read operate"},
    {"tiltshift.v1.Farm/CancelJob", "submit operate"},
    {"tiltshift.v1.Farm/PauseJob", "submit operate"},
    {"tiltshift.v1.Farm/ResumeJob", "submit operate"},
    {"tiltshift.v1.Farm/RetryFailed", "submit operate"},
    {"tiltshift.v1.Farm/SetPriority", "submit operate"},
    {"tiltshift.v1.Farm/Explain", "submit read operate"},
    {"tiltshift.v1.Farm/ReadOutputs", "submit read operate"},
    {"tiltshift.v1.Farm/ListVariants", "submit read operate"},
    {"tiltshift.v1.Farm/ReadPicture", "submit read operate"},
    {"tiltshift.v1.Farm/ListWorkers", "operate"},
    {"tiltshift.v1.Farm/UploadPhoto", "submit operate"},
    {"tiltshift.v1.Farm/Forget", "submit operate"},
    {"tiltshift.v1.Farm/ListReceipts", "submit read operate"},
    {"tiltshift.v1.Tokens/CreateToken", "operate"},
    {"tiltshift.v1.Tokens/RevokeToken", "operate"},
    {"tiltshift.v1.Tokens/ListTokens", "operate"},
    {"tiltshift.v1.Tokens/WhoAmI", "submit read operate worker"},
    {"tiltshift.v1.Workers/Session", "worker"},
    {"tiltshift.v1.Workers/OpenPhoto", "worker"},
    {"externalscaler.ExternalScaler/IsActive", "operate"},
    {"externalscaler.ExternalScaler/StreamIsActive", "operate"},
    {"externalscaler.ExternalScaler/GetMetricSpec", "operate"},
    {"externalscaler.ExternalScaler/GetMetrics", "operate"},
    {"grpc.health.v1.Health/Check", "submit read operate worker"},
    {"grpc.health.v1.Health/Watch", "submit read operate worker"},
    {"grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "submit read operate worker"},
};
const std::map<std::string, v1::Role> kRoles = {{"submit", v1::ROLE_SUBMIT},
                                                {"read", v1::ROLE_READ},
                                                {"operate", v1::ROLE_OPERATE},
                                                {"worker", v1::ROLE_WORKER}};
// A certificate of the farm's CA lets in whoever gives no token.
constexpr char kForCertificates[] = "externalscaler.ExternalScaler/";
constexpr char kNoJob[] = "j000000000000000";

bool May(const std::string& method, const std::string& role) {
  const std::vector<std::string> roles = absl::StrSplit(kMayCall.at(method), ' ');
  return std::find(roles.begin(), roles.end(), role) != roles.end();
}

// The method's message, empty.
std::unique_ptr<Message> Request(const std::string& method) {
  const auto* described = google::protobuf::DescriptorPool::generated_pool()->FindMethodByName(
      absl::StrReplaceAll(method, {{"/", "."}}));
  if (described == nullptr) return nullptr;
  return std::unique_ptr<Message>(google::protobuf::MessageFactory::generated_factory()
                                      ->GetPrototype(described->input_type())
                                      ->New());
}

// Every message of the method that names a job in one place: a "job_id" of its own, or of what it
// holds.
std::vector<std::unique_ptr<Message>> Naming(const std::string& method, const std::string& job) {
  std::vector<std::unique_ptr<Message>> messages;
  const auto empty = Request(method);
  const auto* type = empty->GetDescriptor();
  const auto name = [&](const FieldDescriptor* within, const FieldDescriptor* field) {
    auto message = Request(method);
    Message* holder = within == nullptr
                          ? message.get()
                          : message->GetReflection()->MutableMessage(message.get(), within);
    holder->GetReflection()->SetString(holder, field, job);
    messages.push_back(std::move(message));
  };
  for (int i = 0; i < type->field_count(); ++i) {
    const FieldDescriptor* field = type->field(i);
    if (field->name() == "job_id") name(nullptr, field);
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE || field->is_repeated()) continue;
    const FieldDescriptor* inner = field->message_type()->FindFieldByName("job_id");
    if (inner != nullptr) name(field, inner);
  }
  return messages;
}

class RoleWalkTest : public GuardedFarmTest {
 protected:
  void SetUp() override {
    GuardedFarmTest::SetUp();
    if (HasFatalFailure()) return;
    for (const auto& [name, role] : kRoles) {
      brand_[name] = Create("brand", {role}).secret();
      contest_[name] = Create("contest", {role}).secret();
    }
    brands_job_ = Submit(brand_["submit"]);
    contests_job_ = Submit(contest_["submit"]);
  }
  std::set<std::string> Methods() {
    grpc::health::v1::HealthCheckRequest::descriptor();  // links them, so that Request finds them
    externalscaler::ScaledObjectRef::descriptor();
    std::set<std::string> methods;
    grpc::ClientContext context;
    Prepare(context, operate_);
    const auto stub = ServerReflection::NewStub(channel_);
    const auto stream = stub->ServerReflectionInfo(&context);
    ServerReflectionRequest request;
    ServerReflectionResponse response;
    request.set_list_services("");
    EXPECT_TRUE(stream->Write(request) && stream->Read(&response));
    const auto services = response.list_services_response();
    for (const auto& service : services.service()) {
      request.set_file_containing_symbol(service.name());
      EXPECT_TRUE(stream->Write(request) && stream->Read(&response));
      for (const auto& bytes : response.file_descriptor_response().file_descriptor_proto()) {
        google::protobuf::FileDescriptorProto file;
        EXPECT_TRUE(file.ParseFromString(bytes));
        for (const auto& declared : file.service()) {
          if (file.package() + "." + declared.name() != service.name()) continue;
          for (const auto& method : declared.method())
            methods.insert(service.name() + "/" + method.name());
        }
      }
    }
    stream->WritesDone();
    EXPECT_TRUE(stream->Finish().ok());
    return methods;
  }
  // What operators see of the farm.
  std::string Everything() {
    std::string all = List(operate_).DebugString();
    grpc::ClientContext context;
    Prepare(context, operate_);
    v1::ListTokensResponse tokens;
    EXPECT_TRUE(v1::Tokens::NewStub(channel_)->ListTokens(&context, {}, &tokens).ok());
    return all + tokens.DebugString();
  }
  // A message for each way to name brand's job, or the empty one.
  static std::vector<std::unique_ptr<Message>> Messages(const std::string& method,
                                                        const std::string& job) {
    auto messages = Naming(method, job);
    if (messages.empty()) messages.push_back(Request(method));
    return messages;
  }

  std::map<std::string, std::string> brand_, contest_;  // by role
  std::string brands_job_, contests_job_;
};

TEST_F(RoleWalkTest, EveryMethodByEverybody) {
  const std::set<std::string> methods = Methods();
  for (const auto& [method, roles] : kMayCall) EXPECT_EQ(methods.count(method), 1u) << method;
  const auto expiring = Create("brand", {v1::ROLE_SUBMIT, v1::ROLE_READ, v1::ROLE_OPERATE}, 1);
  const auto revoked = Create("brand", {v1::ROLE_SUBMIT, v1::ROLE_READ, v1::ROLE_OPERATE});
  ASSERT_TRUE(Revoke(revoked.token().id()).ok());
  std::string wrong = operate_;
  wrong.back() = wrong.back() == '0' ? '1' : '0';
  const std::map<std::string, std::string> nobodies = {{"no token", ""},
                                                       {"a wrong secret", wrong},
                                                       {"expired", expiring.secret()},
                                                       {"revoked", revoked.secret()},
                                                       {"an id", operate_.substr(0, 16)}};
  const std::string before = Everything();

  for (const std::string& method : methods) {
    SCOPED_TRACE(method);
    ASSERT_EQ(kMayCall.count(method), 1u) << "a new method: who may call it?";
    ASSERT_NE(Request(method), nullptr) << "its messages are not linked in";
    for (const auto& message : Messages(method, brands_job_)) {
      for (const auto& [who, token] : nobodies) {
        const bool shows_one = !absl::StartsWith(method, kForCertificates) || !token.empty();
        const Answer answer =
            Ask("/" + method, *message, token, shows_one ? worker_channel_ : channel_);
        EXPECT_FALSE(answer.responded) << who;
        EXPECT_EQ(answer.status.error_code(), StatusCode::UNAUTHENTICATED) << who;
      }
    }
    // Another tenant's job is answered as one that is none, whoever asks.
    const auto theirs = Naming(method, brands_job_), none = Naming(method, kNoJob);
    for (size_t i = 0; i < theirs.size(); ++i) {
      for (const auto& [role, token] : contest_) {
        if (role == "operate" || (role == "worker" && May(method, role))) continue;  // no tenant's
        SCOPED_TRACE(role);
        const Answer of_theirs = Ask("/" + method, *theirs[i], token, worker_channel_);
        const Answer of_none = Ask("/" + method, *none[i], token, worker_channel_);
        EXPECT_FALSE(of_theirs.responded || of_none.responded);
        EXPECT_FALSE(of_theirs.status.ok());
        EXPECT_EQ(of_theirs.status.error_code(), of_none.status.error_code());
        EXPECT_EQ(absl::StrReplaceAll(of_theirs.status.error_message(), {{brands_job_, "JOB"}}),
                  absl::StrReplaceAll(of_none.status.error_message(), {{kNoJob, "JOB"}}));
        EXPECT_EQ(of_theirs.status.error_details(), of_none.status.error_details());
      }
    }
  }
  EXPECT_EQ(Everything(), before) << "somebody changed something";

  for (const std::string& method : methods) {
    SCOPED_TRACE(method);
    for (const auto& message : Messages(method, brands_job_)) {
      for (const auto& [role, token] : brand_) {
        const Answer answer = Ask("/" + method, *message, token, worker_channel_);
        EXPECT_EQ(answer.in(), May(method, role))
            << role << ": " << answer.status.error_code() << " " << answer.status.error_message();
        if (!answer.in()) {
          EXPECT_EQ(answer.status.error_code(), StatusCode::PERMISSION_DENIED);
        }
        const bool names_it = !Naming(method, brands_job_).empty();
        if (answer.in() && names_it && role != "worker") {
          EXPECT_NE(answer.status.error_code(), StatusCode::NOT_FOUND);
        }
      }
    }
  }
}

TEST_F(RoleWalkTest, KedaShowsACertificateInPlaceOfAToken) {
  const externalscaler::ScaledObjectRef ref;
  EXPECT_TRUE(Ask(absl::StrCat("/", kForCertificates, "IsActive"), ref, "", worker_channel_).in());
  EXPECT_FALSE(
      Ask("/tiltshift.v1.Farm/ListWorkers", v1::ListWorkersRequest(), "", worker_channel_).in());
}

TEST_F(RoleWalkTest, EverybodyIsToldWhoTheyAreAndNoOtherIs) {
  v1::WhoAmIRequest request;
  request.set_token_id(operate_.substr(3, 12));
  for (const auto& [role, token] : brand_) {
    Answer answer = Ask("/tiltshift.v1.Tokens/WhoAmI", request, token);
    ASSERT_TRUE(answer.responded) << answer.status.error_message();
    v1::Token told;
    ASSERT_TRUE(grpc::SerializationTraits<v1::Token>::Deserialize(&answer.response, &told).ok());
    EXPECT_EQ(told.id(), token.substr(3, told.id().size()));
    EXPECT_EQ(told.tenant(), "brand");
    ASSERT_EQ(told.roles_size(), 1);
    EXPECT_EQ(told.roles(0), kRoles.at(role));
  }
}

TEST_F(RoleWalkTest, ListsAndRequestIdsAreATenantsOwn) {
  const auto ids = [&](const std::string& token) {
    std::set<std::string> all;
    const auto listed = List(token);
    for (const v1::Job& job : listed.jobs()) all.insert(job.id());
    return all;
  };
  EXPECT_EQ(ids(brand_["read"]), std::set<std::string>{brands_job_});
  EXPECT_EQ(ids(contest_["read"]), std::set<std::string>{contests_job_});
  EXPECT_EQ(ids(operate_), (std::set<std::string>{brands_job_, contests_job_}));
  const std::string spring = Submit(brand_["submit"], "spring");
  EXPECT_EQ(Submit(brand_["submit"], "spring"), spring);
  EXPECT_NE(Submit(contest_["submit"], "spring"), spring);
  const auto everybodys = List(operate_);
  for (const v1::Job& job : everybodys.jobs())
    EXPECT_EQ(job.spec().tenant(), ids(brand_["read"]).count(job.id()) == 1 ? "brand" : "contest");
  // In words that are no tenant's: another's name in the message changes nothing.
  v1::SubmitRequest submit;
  *submit.mutable_spec() = Spec();
  submit.mutable_spec()->set_tenant("brand");
  EXPECT_EQ(Ask("/tiltshift.v1.Farm/Submit", submit, contest_["submit"]).status.error_code(),
            StatusCode::PERMISSION_DENIED);
  v1::ListJobsRequest list;
  list.set_tenant("brand");
  EXPECT_EQ(Ask("/tiltshift.v1.Farm/ListJobs", list, contest_["read"]).status.error_code(),
            StatusCode::PERMISSION_DENIED);
  v1::ExplainRequest explain;
  explain.set_worker_id("w");
  EXPECT_EQ(Ask("/tiltshift.v1.Farm/Explain", explain, brand_["read"]).status.error_code(),
            StatusCode::PERMISSION_DENIED);
}

}  // namespace
}  // namespace tiltshift::tests
