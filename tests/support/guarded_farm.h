// A farm that asks its callers who they are: a scheduler with tokens and mutual TLS over a Redis,
// with certificates of its own, and calls as anybody.
#pragma once

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "proto/channel.h"
#include "proto/farm.grpc.pb.h"
#include "proto/tokens.grpc.pb.h"
#include "tests/support/certificates.h"
#include "tests/support/folder_test.h"
#include "tests/support/redis_server.h"
#include "tests/support/scheduler_process.h"
#include "tests/support/scrape.h"
#include "tests/support/services_by_hand.h"

namespace tiltshift::tests {

class GuardedFarmTest : public FolderTest {
 protected:
  void SetUp() override {
    certificates_.Sign("server", "DNS:localhost,IP:127.0.0.1");
    certificates_.Sign("render-7", "DNS:render-7");
    redis_ =
        std::make_unique<RedisServer>(folder_, std::vector<std::string>{"--appendfsync", "always"});
    StartScheduler();
    ASSERT_TRUE(WaitFor([&] { return !ReadFile(first_token_).value_or("").empty(); }, 20'000))
        << scheduler_->process().Output();
    operate_ = ReadFile(first_token_)->substr(0, 80);
    ASSERT_EQ(operate_.size(), 80u);
    ASSERT_TRUE(
        WaitFor([&] { return Create("probe", {v1::ROLE_READ}).token().id() != ""; }, 20'000));
  }
  void StartScheduler(std::vector<std::string> more = {}) {
    const auto file = [&](const char* name) { return certificates_.File(name); };
    std::vector<std::string> options = {
        "--listen",        address_,           "--auth",      "on",
        "--first-token",   first_token_,       "--audit-log", audit_,
        "--tls-cert",      file("server.crt"), "--tls-key",   file("server.key"),
        "--tls-client-ca", file("ca.crt")};
    options.insert(options.end(), more_.begin(), more_.end());
    options.insert(options.end(), more.begin(), more.end());
    scheduler_ = std::make_unique<SchedulerProcess>(folder_, redis_->address(), options);
    ASSERT_TRUE(scheduler_->Leads()) << scheduler_->process().Output();
    channel_ = Connect("");
    worker_channel_ = Connect("render-7");
  }
  // In TLS, with the certificate of that name, if any.
  std::shared_ptr<grpc::Channel> Connect(const std::string& certificate) {
    grpc::SslCredentialsOptions tls;
    tls.pem_root_certs = *ReadFile(certificates_.File("ca.crt"));
    if (!certificate.empty()) {
      tls.pem_cert_chain = *ReadFile(certificates_.File(certificate + ".crt"));
      tls.pem_private_key = *ReadFile(certificates_.File(certificate + ".key"));
    }
    return ConnectTo(address_, grpc::SslCredentials(tls));
  }
  static void Prepare(grpc::ClientContext& context, const std::string& token) {
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    if (!token.empty()) context.AddMetadata("authorization", "Bearer " + token);
  }

  // Of any method: what one message and no more comes to.
  struct Answer {
    grpc::Status status;
    bool responded = false;
    grpc::ByteBuffer response;
    // Whether the caller was let in.
    bool in() const {
      return responded || (status.error_code() != grpc::StatusCode::UNAUTHENTICATED &&
                           status.error_code() != grpc::StatusCode::PERMISSION_DENIED);
    }
  };
  Answer Ask(const std::string& method, const google::protobuf::Message& message,
             const std::string& token, std::shared_ptr<grpc::Channel> channel = nullptr) {
    grpc::GenericStub stub(channel == nullptr ? channel_ : std::move(channel));
    grpc::ClientContext context;
    Prepare(context, token);
    grpc::CompletionQueue queue;
    void* tag = nullptr;
    bool ok = false;
    const auto stream = stub.PrepareCall(&context, method, &queue);
    stream->StartCall(nullptr);
    queue.Next(&tag, &ok);
    grpc::ByteBuffer bytes;
    bool own = false;
    grpc::SerializationTraits<google::protobuf::Message>::Serialize(message, &bytes, &own);
    stream->WriteLast(bytes, grpc::WriteOptions(), nullptr);
    queue.Next(&tag, &ok);
    Answer answer;
    stream->Read(&answer.response, nullptr);
    queue.Next(&tag, &answer.responded);
    if (answer.responded) context.TryCancel();
    stream->Finish(&answer.status, nullptr);
    queue.Next(&tag, &ok);
    return answer;
  }

  v1::CreateTokenResponse Create(const std::string& tenant, const std::vector<v1::Role>& roles,
                                 int64_t lives_ms = 0) {
    grpc::ClientContext context;
    Prepare(context, operate_);
    v1::CreateTokenRequest request;
    request.set_tenant(tenant);
    request.set_lives_ms(lives_ms);
    for (const v1::Role role : roles) request.add_roles(role);
    v1::CreateTokenResponse response;
    v1::Tokens::NewStub(channel_)->CreateToken(&context, request, &response);
    return response;
  }
  grpc::Status Revoke(const std::string& id) {
    grpc::ClientContext context;
    Prepare(context, operate_);
    v1::RevokeTokenRequest request;
    request.set_token_id(id);
    v1::Token response;
    return v1::Tokens::NewStub(channel_)->RevokeToken(&context, request, &response);
  }
  // The new job's id.
  std::string Submit(const std::string& token, const std::string& request_id = "") {
    grpc::ClientContext context;
    Prepare(context, token);
    v1::SubmitRequest request;
    *request.mutable_spec() = Spec("a wish that no log tells {n}");
    request.set_request_id(request_id);
    v1::SubmitResponse response;
    const grpc::Status status = v1::Farm::NewStub(channel_)->Submit(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response.job_id();
  }
  v1::ListJobsResponse List(const std::string& token) {
    grpc::ClientContext context;
    Prepare(context, token);
    v1::ListJobsResponse response;
    const grpc::Status status =
        v1::Farm::NewStub(channel_)->ListJobs(&context, v1::ListJobsRequest(), &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }

  std::vector<std::string> more_;  // options of every scheduler
  const std::string address_ = "127.0.0.1:" + std::to_string(FreePort());
  const std::string first_token_ = folder_ + "/first.token", audit_ = folder_ + "/audit.log";
  Certificates certificates_{folder_, "ca"};
  std::unique_ptr<RedisServer> redis_;
  std::unique_ptr<SchedulerProcess> scheduler_;
  std::shared_ptr<grpc::Channel> channel_, worker_channel_;
  std::string operate_;
};

}  // namespace tiltshift::tests
