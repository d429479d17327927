// A farm with tokens, TLS and an audit log, as its people, scripts and workers have it.
#include "tests/support/guarded_farm.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "proto/identity.h"

namespace tiltshift::tests {
namespace {

using grpc::StatusCode;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class GuardedFarm : public GuardedFarmTest {
 protected:
  struct Said {
    int exit_code;
    std::string output, errors;
  };
  // The command, with the farm's address and CA.
  Said Tiltshift(std::vector<std::string> arguments, const std::string& token_file) {
    arguments.insert(arguments.begin(), Program("tiltshift"));
    arguments.insert(arguments.end(), {"--scheduler", address_, "--tls-ca",
                                       certificates_.File("ca.crt"), "--token-file", token_file});
    Process process(arguments, folder_);
    const int exit_code = process.Wait(20'000);
    return {exit_code, process.Output(), process.Errors()};
  }
  // What all files below the test's folder hold, those named like `except` left out.
  std::string Files(const std::string& except) {
    std::stringstream all;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_)) {
      if (!entry.is_regular_file() || entry.path().string().find(except) != std::string::npos)
        continue;
      all << std::ifstream(entry.path()).rdbuf();
    }
    return all.str();
  }
};

TEST_F(GuardedFarm, RevokedMeansOpenStreamsToo) {
  const auto reads = Create("brand", {v1::ROLE_READ, v1::ROLE_SUBMIT});
  const auto works = Create("", {v1::ROLE_WORKER});
  const std::string job = Submit(reads.secret());
  grpc::ClientContext watching;
  Prepare(watching, reads.secret());
  v1::GetJobRequest request;
  request.set_job_id(job);
  const auto farm = v1::Farm::NewStub(channel_);
  const auto watch = farm->WatchJob(&watching, request);
  v1::Job seen;
  ASSERT_TRUE(watch->Read(&seen));
  grpc::ClientContext working;
  Prepare(working, works.secret());
  const auto workers = v1::Workers::NewStub(worker_channel_);
  const auto session = workers->Session(&working);
  session->Write(Session::Hello("w"));
  v1::SchedulerMessage message;
  ASSERT_TRUE(session->Read(&message) && message.has_welcome());

  ASSERT_TRUE(Revoke(reads.token().id()).ok());
  while (watch->Read(&seen)) {
  }
  EXPECT_THAT(watch->Finish(), Refused(StatusCode::UNAUTHENTICATED, HasSubstr("was revoked")));
  v1::WorkerMessage heartbeat;
  heartbeat.mutable_heartbeat();
  EXPECT_TRUE(session->Write(heartbeat)) << "another's token is nothing to it";
  ASSERT_TRUE(Revoke(works.token().id()).ok());
  while (session->Read(&message)) {
  }
  EXPECT_THAT(session->Finish(), Refused(StatusCode::UNAUTHENTICATED, HasSubstr("was revoked")));
  EXPECT_EQ(Ask("/tiltshift.v1.Farm/GetJob", request, reads.secret()).status.error_code(),
            StatusCode::UNAUTHENTICATED);

  // Also for the next scheduler, and for a Redis that comes back; the first token is there still.
  scheduler_.reset();
  redis_->KillMinus9();
  redis_->Start();
  StartScheduler();
  EXPECT_EQ(Ask("/tiltshift.v1.Farm/GetJob", request, reads.secret()).status.error_code(),
            StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(List(operate_).jobs_size(), 1);
  EXPECT_EQ(ReadFile(first_token_)->substr(0, 80), operate_);
}

TEST_F(GuardedFarm, AStreamEndsWhenItsTokenExpires) {
  const auto reads = Create("brand", {v1::ROLE_READ, v1::ROLE_SUBMIT}, 1'500);
  grpc::ClientContext context;
  Prepare(context, reads.secret());
  v1::GetJobRequest request;
  request.set_job_id(Submit(reads.secret()));
  const auto farm = v1::Farm::NewStub(channel_);
  const auto watch = farm->WatchJob(&context, request);
  v1::Job seen;
  while (watch->Read(&seen)) {
  }
  EXPECT_THAT(watch->Finish(), Refused(StatusCode::UNAUTHENTICATED, HasSubstr("expired at")));
}

TEST_F(GuardedFarm, AWorkerNeedsItsCertificateAndItsToken) {
  const std::string works = Create("", {v1::ROLE_WORKER}).secret();
  const v1::WorkerMessage hello = Session::Hello("w");
  const std::string session = "/tiltshift.v1.Workers/Session";
  EXPECT_THAT(Ask(session, hello, works).status,
              Refused(StatusCode::UNAUTHENTICATED, HasSubstr("certificate")));
  EXPECT_EQ(Ask(session, hello, "", worker_channel_).status.error_code(),
            StatusCode::UNAUTHENTICATED);
  const Answer let_in = Ask(session, hello, works, worker_channel_);
  EXPECT_TRUE(let_in.in()) << let_in.status.error_message();
  // A stranger's certificate ends the connection, also for those who need none.
  Certificates strangers(folder_, "other-ca");
  strangers.Sign("stranger", "DNS:render-7");
  const Answer answer =
      Ask("/tiltshift.v1.Farm/ListJobs", v1::ListJobsRequest(), operate_, Connect("stranger"));
  EXPECT_FALSE(answer.responded);
  EXPECT_EQ(answer.status.error_code(), StatusCode::UNAVAILABLE);
}

// The real worker, and the command, through the whole of it.
TEST_F(GuardedFarm, FromTheFirstTokenToThePictures) {
  const std::string first = first_token_;
  const std::string shop = folder_ + "/shop.token", worker = folder_ + "/worker.token";
  Said said = Tiltshift({"token", "create", "--name", "the shop", "--tenant", "shop", "--roles",
                         "submit,read", "--expires", "90d", "--out", shop},
                        first);
  ASSERT_EQ(said.exit_code, 0) << said.errors;
  EXPECT_THAT(said.output, Not(HasSubstr("ts_")));
  said = Tiltshift({"token", "create", "--roles", "worker", "--out", worker}, first);
  ASSERT_EQ(said.exit_code, 0) << said.errors;
  const std::string works = *ReadFile(worker);

  const std::string spec = folder_ + "/spec.yaml";
  std::ofstream(spec) << "kind: campaign\nname: shop\nmodel: diorama\nprompt: \"a {n}\"\n"
                         "axes: {n: {range: 1-5}}\n";
  Process process(
      {Program("tiltshift-worker"), "--scheduler", address_, "--token-file", worker, "--tls-ca",
       certificates_.File("ca.crt"), "--tls-cert", certificates_.File("render-7.crt"), "--tls-key",
       certificates_.File("render-7.key"), "--blobs", folder_ + "/blobs", "--render", "noop"},
      folder_);
  said = Tiltshift({"submit", spec, "--watch"}, shop);
  EXPECT_EQ(said.exit_code, 0) << said.errors << process.Output();
  const std::string job = said.output.substr(0, said.output.find(':'));
  EXPECT_EQ(Tiltshift({"get", job, "--out", folder_ + "/out"}, shop).exit_code, 0);
  EXPECT_EQ(Tiltshift({"workers"}, shop).exit_code, 5);
  EXPECT_EQ(Tiltshift({"workers"}, first).exit_code, 0);
  said = Tiltshift({"token", "list"}, first);
  EXPECT_THAT(said.output, AllOf(HasSubstr("submit,read"), HasSubstr("the shop"),
                                 HasSubstr("until "), Not(HasSubstr(works.substr(16, 64)))));
  const std::string id = works.substr(3, 12);
  EXPECT_EQ(Tiltshift({"token", "revoke", id}, first).exit_code, 0);
  EXPECT_TRUE(
      WaitFor([&] { return process.Output().find("was revoked") != std::string::npos; }, 10'000))
      << process.Output();

  // No secret is anywhere but in the file that was asked for, and no prompt in the log.
  const std::string files = Files(".token");
  for (const std::string& secret : {works, *ReadFile(shop), operate_})
    EXPECT_EQ(files.find(secret.substr(16, 64)), std::string::npos);
  const std::string audit = *ReadFile(audit_);
  EXPECT_THAT(audit, AllOf(HasSubstr("\"tenant\":\"shop\",\"method\":\"tiltshift.v1.Farm/Submit\""),
                           HasSubstr("\"job\":\"" + job + "\",\"code\":\"OK\""),
                           HasSubstr("tiltshift.v1.Tokens/RevokeToken\",\"job\":\"" + id),
                           HasSubstr("\"certificate\":\"render-7\""),
                           HasSubstr("PERMISSION_DENIED"), Not(HasSubstr("a {n}"))));
}

TEST_F(GuardedFarm, TheLogIsOpenedAnewOnSighup) {
  Submit(operate_);
  ASSERT_TRUE(
      WaitFor([&] { return ReadFile(audit_)->find("Submit") != std::string::npos; }, 5'000));
  std::filesystem::rename(audit_, audit_ + ".1");
  scheduler_->process().Signal(SIGHUP);
  ASSERT_TRUE(WaitFor([&] { return std::filesystem::exists(audit_); }, 5'000));
  const std::string job = Submit(operate_);
  EXPECT_THAT(*ReadFile(audit_), HasSubstr(job));
}

TEST_F(GuardedFarm, ATenantThatAsksTooMuchWaits) {
  const std::string tenants = folder_ + "/tenants.yaml";
  std::ofstream(tenants) << "brand: {submissions_per_s: 0.1}\n\"*\": {calls_per_s: 1000}\n";
  scheduler_.reset();
  StartScheduler({"--tenants", tenants});
  const std::string brand = Create("brand", {v1::ROLE_SUBMIT, v1::ROLE_READ}).secret();
  Submit(brand);
  v1::SubmitRequest submit;
  *submit.mutable_spec() = Spec();
  EXPECT_THAT(Ask("/tiltshift.v1.Farm/Submit", submit, brand).status,
              Refused(StatusCode::RESOURCE_EXHAUSTED,
                      HasSubstr("0.1 submissions a second; try again in ")));
  EXPECT_EQ(List(brand).jobs_size(), 1);
  Submit(Create("contest", {v1::ROLE_SUBMIT}).secret());
}

// The token goes nowhere in the clear, and a file that others can read is no place for it.
TEST_F(GuardedFarm, WhatTheCommandRefuses) {
  const std::string open = folder_ + "/open.token";
  std::ofstream(open) << operate_ << "\n";
  chmod(open.c_str(), 0644);
  Said said = Tiltshift({"list"}, open);
  EXPECT_EQ(said.exit_code, 2);
  EXPECT_THAT(said.errors, HasSubstr("chmod 600"));
  said = Tiltshift({"token", "create", "--roles", "read"}, first_token_);
  EXPECT_THAT(said.output, HasSubstr("ts_"));
  EXPECT_EQ(Tiltshift({"token", "create", "--roles", "king"}, first_token_).exit_code, 2);
  EXPECT_EQ(Tiltshift({"list"}, "none").exit_code, 2);
  EXPECT_THAT(Tiltshift({"list"}, "none").errors, HasSubstr("--token-file"));
  Process clear(
      {Program("tiltshift"), "list", "--scheduler", "192.0.2.1:7070", "--token-file", first_token_},
      folder_);
  EXPECT_EQ(clear.Wait(5'000), 2);
  EXPECT_THAT(clear.Errors(), HasSubstr("in the clear"));
}

// I7: what a scheduler does not begin to serve.
// A renewal as it is done: files replaced, nothing restarted, with an authority that the old
// certificates mean nothing to.
TEST_F(GuardedFarm, CertificatesAreReadAgainWhenTheyChange) {
#if !__has_include(<grpcpp/security/tls_certificate_provider.h>)
  GTEST_SKIP() << "this gRPC reads certificates once";
#endif
  const auto file = [&](const char* name) { return certificates_.File(name); };
  const std::string token = folder_ + "/operate.token";
  ASSERT_TRUE(WriteFileAtomic(token, operate_, IfPresent::kReplace, 0600).ok());
  const auto identity =
      Identity::Load({token, file("ca.crt"), file("render-7.crt"), file("render-7.key")});
  ASSERT_TRUE(identity.ok()) << identity.status();
  const auto lists = [&] {
    grpc::ClientContext context;
    Prepare(context, "");
    identity->AddTo(context);
    v1::ListWorkersResponse response;
    return v1::Farm::NewStub(identity->Connect(address_))
        ->ListWorkers(&context, v1::ListWorkersRequest(), &response)
        .ok();
  };
  ASSERT_TRUE(lists());
  std::filesystem::create_directories(folder_ + "/next");
  Certificates next(folder_ + "/next", "ca");
  next.Sign("server", "DNS:localhost,IP:127.0.0.1");
  next.Sign("render-7", "DNS:render-7");
  for (const char* name : {"server.key", "server.crt", "render-7.key", "render-7.crt", "ca.crt"})
    std::filesystem::rename(next.File(name), file(name));
  EXPECT_TRUE(WaitFor(
      [&] {
        return Connect("render-7")
            ->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(1));
      },
      20'000))
      << "the scheduler shows its new certificate, and asks for those of the new authority";
  EXPECT_TRUE(WaitFor(lists, 20'000)) << "so does a client that was there before";
}

TEST(GuardedListening, BeyondThisMachineOnlyWithTokensAndTls) {
  const std::string folder = FreshFolder();
  Certificates certificates(folder, "ca");
  certificates.Sign("server", "DNS:localhost");
  const auto refusal = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {Program("tiltshift-scheduler"), "--redis",
                                          "unix:" + folder + "/none", "--blobs", folder + "/b"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    Process process(arguments, folder);
    EXPECT_EQ(process.Wait(10'000), 1) << process.Output();
    return process.Output();
  };
  const std::string cert = certificates.File("server.crt"), key = certificates.File("server.key");
  const std::string all = "0.0.0.0:" + std::to_string(FreePort());
  EXPECT_THAT(refusal({"--listen", all}), HasSubstr("beyond this machine"));
  EXPECT_THAT(refusal({"--listen", "127.0.0.1.example.org:1"}), HasSubstr("beyond this machine"));
  EXPECT_THAT(refusal({"--listen", all, "--auth", "on"}), HasSubstr("add --tls-cert"));
  EXPECT_THAT(refusal({"--listen", all, "--tls-cert", cert, "--tls-key", key}),
              HasSubstr("without --auth on"));
  EXPECT_THAT(refusal({"--metrics", all}), HasSubstr("--metrics"));
  EXPECT_THAT(refusal({"--auth", "on", "--metrics", all}), HasSubstr("--metrics"));
  EXPECT_THAT(refusal({"--auth", "on", "--audit-log", "/nowhere/log"}), HasSubstr("audit log"));
  Process worker(
      {Program("tiltshift-worker"), "--blobs", folder + "/b", "--render", "noop", "--metrics", all},
      folder);
  EXPECT_EQ(worker.Wait(10'000), 1);
  EXPECT_THAT(worker.Output(), HasSubstr("--metrics"));
}

}  // namespace
}  // namespace tiltshift::tests
