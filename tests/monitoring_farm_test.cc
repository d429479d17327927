// A real Prometheus watches a real farm: every query of every rule and of every panel returns data.
// The farm renders with the built-in model, loses workers over a variant, and its worker watches a
// card, which is monitoring/testing's.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <cmath>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "proto/farm.grpc.pb.h"
#include "proto/worker.grpc.pb.h"
#include "tests/monitoring_files.h"
#include "tests/support/folder_test.h"
#include "tests/support/redis_server.h"
#include "tests/support/scheduler_process.h"
#include "tests/support/scrape.h"

namespace tiltshift::tests {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

constexpr int kPatienceMs = 40'000;
const std::string kMonitoring = TILTSHIFT_SOURCE_DIR "/monitoring/";

std::string Escaped(const std::string& text) {
  std::string out;
  for (const unsigned char c : text)
    out +=
        std::isalnum(c) != 0 ? std::string(1, static_cast<char>(c)) : absl::StrFormat("%%%02X", c);
  return out;
}

class MonitoringFarmTest : public FolderTest {
 protected:
  void SetUp() override {
    if (std::system("prometheus --version >/dev/null 2>&1") != 0)
      GTEST_SKIP() << "no prometheus here; scripts/setup installs one";
    StartWorker("");
    ASSERT_TRUE(scheduler_.Leads()) << scheduler_.process().Output();
    StartPrometheus();
    channel_ = grpc::CreateChannel(scheduler_.address(), grpc::InsecureChannelCredentials());
    farm_ = v1::Farm::NewStub(channel_);
  }
  // `cards`: how its cards are (monitoring/testing/fake_nvml.cc).
  void StartWorker(const char* cards) {
    setenv("LD_LIBRARY_PATH", TILTSHIFT_BINARY_DIR "/fake-nvml", 1);
    setenv("FAKE_NVML", cards, 1);
    worker_ = std::make_unique<Process>(
        std::vector<std::string>{Program("tiltshift-worker"), "--scheduler", scheduler_.address(),
                                 "--blobs", folder_ + "/blobs", "--models",
                                 TILTSHIFT_SOURCE_DIR "/models", "--device", "cpu", "--slots", "1",
                                 "--keep-free", "0", "--metrics", At(worker_port_)},
        folder_);
    unsetenv("FAKE_NVML");
    unsetenv("LD_LIBRARY_PATH");
  }
  static std::string At(int port) { return "127.0.0.1:" + std::to_string(port); }

  void StartPrometheus() {
    const std::string config = absl::StrFormat(
        "global: {scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}\n"
        "rule_files: ['%srules/recording.yaml', '%srules/alerts.yaml']\n"
        "scrape_configs:\n"
        "  - {job_name: tiltshift-scheduler, static_configs: [{targets: ['%s']}]}\n"
        "  - {job_name: tiltshift-worker, static_configs: [{targets: ['%s']}]}\n",
        kMonitoring, kMonitoring, At(scheduler_port_), At(worker_port_));
    std::ofstream(folder_ + "/prometheus.yaml") << config;
    prometheus_ = std::make_unique<Process>(
        std::vector<std::string>{"prometheus", "--config.file=" + folder_ + "/prometheus.yaml",
                                 "--storage.tsdb.path=" + folder_ + "/tsdb",
                                 "--web.listen-address=" + At(prometheus_port_)},
        folder_);
    ASSERT_TRUE(WaitFor([&] { return Values("up == 1").size() == 2; }, kPatienceMs))
        << prometheus_->Errors();
  }

  json Ask(const std::string& path) {
    const std::string answer = Get(prometheus_port_, path);
    const size_t body = answer.find("\r\n\r\n");
    if (body == std::string::npos) return {};
    return json::parse(answer.substr(body + 4), nullptr, /*allow_exceptions=*/false);
  }
  // What a query returns now; nothing where it is no query, or Prometheus does not answer yet.
  std::vector<double> Values(const std::string& query) {
    const json answer = Ask("/api/v1/query?query=" + Escaped(query));
    std::vector<double> values;
    if (!answer.is_object() || answer.value("status", "") != "success") return values;
    for (const json& result : answer["data"]["result"])
      values.push_back(std::atof(result["value"][1].get<std::string>().c_str()));
    return values;
  }
  bool HasData(const std::string& query) {
    const auto values = Values(query);
    return std::any_of(values.begin(), values.end(),
                       [](double value) { return std::isfinite(value); });
  }
  // That each fires, or would once its time is up.
  void ExpectAlerts(const std::vector<std::string>& names) {
    for (const std::string& name : names)
      EXPECT_TRUE(WaitFor([&] { return HasData("ALERTS{alertname=\"Tiltshift" + name + "\"}"); },
                          kPatienceMs))
          << name;
  }
  grpc::Status Submit(const std::string& model, uint32_t seeds) {
    grpc::ClientContext context;
    v1::SubmitRequest request;
    request.mutable_spec()->set_name("watched");
    request.mutable_spec()->set_model(model);
    request.mutable_spec()->set_prompt("a miniature robot");
    v1::Axis& axis = *request.mutable_spec()->add_axes();
    axis.set_name("seed");
    axis.set_range("1-" + std::to_string(seeds));
    request.mutable_spec()->mutable_render()->set_width(64);
    request.mutable_spec()->mutable_render()->set_height(64);
    request.mutable_spec()->mutable_render()->set_steps(1);
    v1::SubmitResponse response;
    return farm_->Submit(&context, request, &response);
  }
  // A worker that takes a lease of this model; then `act` has it, and the stream is cut.
  template <typename Act>
  void Take(const std::string& id, const std::string& model, Act act) {
    grpc::ClientContext context;
    const auto stub = v1::Workers::NewStub(channel_);
    const auto stream = stub->Session(&context);
    v1::WorkerMessage message;
    message.mutable_hello()->set_worker_id(id);
    message.mutable_hello()->set_slots(1);
    message.mutable_hello()->set_protocol(1);
    message.mutable_hello()->add_models()->set_name(model);
    stream->Write(message);
    message.mutable_turn()->set_turn(1);
    message.mutable_turn()->set_want_leases(1);
    stream->Write(message);
    v1::SchedulerMessage read;
    while (read.turn_ack().leases().empty() && !read.has_lease() && stream->Read(&read)) {
    }
    act(*stream, read.has_lease() ? read.lease() : read.turn_ack().leases(0));
    context.TryCancel();
    stream->Finish();
  }
  // Three workers die over a variant of model `kills`, one fails another of model `fails`.
  void Fail(const std::string& kills, const std::string& fails) {
    using Stream = grpc::ClientReaderWriter<v1::WorkerMessage, v1::SchedulerMessage>;
    EXPECT_TRUE(Submit(kills, 1).ok());
    for (int i = 0; i < 3; ++i)
      Take("dies-" + kills + std::to_string(i), kills, [](Stream&, const v1::Lease&) {});
    EXPECT_TRUE(Submit(fails, 1).ok());
    Take("fails-" + fails, fails, [](Stream& stream, const v1::Lease& lease) {
      v1::WorkerMessage message;
      message.mutable_turn()->set_turn(2);
      v1::Outcome& outcome = *message.mutable_turn()->add_outcomes();
      outcome.set_token(lease.token());
      outcome.set_job_id(lease.job_id());
      outcome.add_failed()->set_index(0);
      stream.Write(message);
      v1::SchedulerMessage read;
      while (read.turn_ack().turn() != 2 && stream.Read(&read)) {
      }
    });
  }

  const int scheduler_port_ = FreePort(), worker_port_ = FreePort(), prometheus_port_ = FreePort();
  RedisServer redis_{folder_};
  SchedulerProcess scheduler_{
      folder_,
      redis_.address(),
      {"--metrics", At(scheduler_port_), "--lease-ttl-ms", "500", "--heartbeat-ms", "50"}};
  std::unique_ptr<Process> worker_, prometheus_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Farm::Stub> farm_;
};

TEST_F(MonitoringFarmTest, EveryQueryOfEveryPanelAndRuleReturnsData) {
  ASSERT_TRUE(Submit("diorama", 40).ok());
  Fail("kills", "fails");
  for (const char* happened :
       {"tiltshift_farm_images_total{model=\"diorama\",device=\"cpu\"} == 40",
        "tiltshift_farm_stage_seconds_total{model=\"diorama\",device=\"cpu\",stage=\"denoise\"} > "
        "0",
        "tiltshift_images_rendered_total{model=\"diorama\",device=\"cpu\"} == 40",
        "tiltshift_variants_quarantined_total == 1", "tiltshift_leases_expired_total >= 3",
        "tiltshift_variants_retried_total == 1", "tiltshift_gpu_temperature_celsius == 61",
        "tiltshift_gpu_last_xid{gpu=\"0\"} == 79", "tiltshift_slots == 1", "tiltshift_epoch >= 1",
        "tiltshift_queue_seconds{model=\"fails\",device=\"any\"} > 0",
        "tiltshift_blob_seconds_count{operation=\"put\",job=\"tiltshift-worker\"} >= 80"})
    EXPECT_TRUE(WaitFor([&] { return HasData(happened); }, kPatienceMs)) << happened;

  for (const char* file : {"rules/recording.yaml", "rules/alerts.yaml"}) {
    for (const Query& query : RuleQueries(kMonitoring + file)) {
      if (!query.is_alert) {
        EXPECT_TRUE(WaitFor([&] { return HasData(query.text); }, kPatienceMs)) << query.where;
      }
      for (const std::string& selector : Selectors(query.text))
        EXPECT_TRUE(WaitFor([&] { return HasData(selector); }, kPatienceMs))
            << query.where << ": " << selector;
    }
  }
  for (const char* file : {"fleet", "job", "worker", "cost"}) {
    for (const Query& query : PanelQueries(kMonitoring + "grafana/" + file + ".json"))
      EXPECT_TRUE(WaitFor([&] { return HasData(query.text); }, kPatienceMs))
          << query.where << ": " << query.text;
  }
  // What is wrong with this farm is said; what is not is not.
  for (const char* fires : {"TiltshiftVariantsQuarantined", "TiltshiftCardErrors"})
    EXPECT_TRUE(WaitFor(
        [&] {
          return HasData(absl::StrFormat("ALERTS{alertname=\"%s\",alertstate=\"firing\"}", fires));
        },
        kPatienceMs))
        << fires;
  EXPECT_FALSE(HasData("ALERTS{alertname=\"TiltshiftNoLeader\"}"));
  const json groups = Ask("/api/v1/rules")["data"]["groups"];
  EXPECT_FALSE(groups.empty());
  for (const json& group : groups)
    for (const json& rule : group["rules"]) EXPECT_EQ(rule["health"], "ok") << rule;
}

// The alerts that can be made true without waiting for what takes minutes by its nature; the rest
// are promtool's (monitoring_files_test).
TEST_F(MonitoringFarmTest, WhatIsBrokenIsAnAlert) {
  Fail("kills", "fails");
  Fail("kills-too", "fails-too");
  ExpectAlerts({"NoStandby", "LeasesExpire", "AttemptsFail"});
  EXPECT_TRUE(Submit("diorama", 1'000'000'000).ok());
  ExpectAlerts({"QueueLong"});
  worker_->Signal(SIGKILL);
  ExpectAlerts({"WorkerDown", "NoWorkers"});
  std::filesystem::rename(folder_ + "/blobs", folder_ + "/elsewhere");
  std::ofstream(folder_ + "/blobs") << "no folder";
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(Submit("diorama", 1).ok());
  ExpectAlerts({"BlobsFail"});
  std::filesystem::remove(folder_ + "/blobs");
  std::filesystem::rename(folder_ + "/elsewhere", folder_ + "/blobs");
  StartWorker("hot");
  ExpectAlerts({"CardHot", "CardMemoryErrors"});
  EXPECT_TRUE(WaitFor([&] { return HasData("tiltshift_connected == 1"); }, kPatienceMs));
  scheduler_.process().Signal(SIGKILL);
  ExpectAlerts({"SchedulerDown", "NoLeader", "WorkerDisconnected"});
}

}  // namespace
}  // namespace tiltshift::tests
