#include "bench/farm_stage.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/cpus.h"
#include "base/hash.h"
#include "tests/support/scrape.h"

namespace tiltshift::bench {
namespace {

namespace fs = std::filesystem;

constexpr int kSubmitters = 16;

std::string MakeFolder() {
  const fs::path folder = fs::temp_directory_path() / ("tiltshift-bench-" + RandomHex(6));
  fs::create_directories(folder);
  return folder.string();
}

store::RedisAddress Parse(const std::string& address) {
  const auto parsed = store::ParseRedisAddress(address);
  TS_CHECK(parsed.ok());
  return *parsed;
}

v1::JobSpec Spec(uint64_t variants) {
  v1::JobSpec spec;
  spec.set_name("bench");
  spec.set_model("diorama");
  spec.set_prompt("number {n}");
  v1::Axis& axis = *spec.add_axes();
  axis.set_name("n");
  axis.set_range(absl::StrCat("1-", variants));
  return spec;
}

// Of the calling thread, and of all that it starts from then on.
void Schedule(int policy) {
  const sched_param none{};
  TS_CHECK(sched_setscheduler(0, policy, &none) == 0);
}

}  // namespace

FarmStage::Cores FarmStage::Divide() {
  Schedule(SCHED_BATCH);
  cpu_set_t ours;
  TS_CHECK(sched_getaffinity(0, sizeof(ours), &ours) == 0);
  std::vector<int> first;
  for (int cpu = 0; cpu < CPU_SETSIZE && first.size() < 2; ++cpu) {
    if (CPU_ISSET(cpu, &ours)) first.push_back(cpu);
  }
  TS_CHECK(first.size() == 2);
  return {std::to_string(first[0]), std::to_string(first[1])};
}

double CpuSeconds(pid_t pid) {
  std::ifstream in(absl::StrCat("/proc/", pid, "/stat"));
  std::string text((std::istreambuf_iterator<char>(in)), {});
  std::istringstream fields(text.substr(text.rfind(')') + 1));  // state ppid ... utime stime
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  double user = 0, system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double IdleSeconds() {
  std::ifstream in("/proc/stat");  // cpu user nice system idle iowait ...
  std::string cpu;
  double user = 0, nice = 0, system = 0, idle = 0, waiting = 0;
  in >> cpu >> user >> nice >> system >> idle >> waiting;
  return (idle + waiting) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

FarmStage::FarmStage(bool divided)
    : cores_(divided ? Divide() : Cores{}),
      folder_(MakeFolder()),
      metrics_port_(tests::FreePort()),
      address_("unix:" + folder_ + "/farm.sock"),
      redis_(std::make_unique<tests::RedisServer>(
          folder_, divided ? std::vector<std::string>{"--server_cpulist", cores_.farm}
                           : std::vector<std::string>{})),
      redis_client_(Parse(redis_->address())) {
  const auto info = redis_client_.Run({"INFO", "server"});
  TS_CHECK(info.ok());
  redis_pid_ = std::atoi(info->text.c_str() + info->text.find("process_id:") + 11);
  scheduler_ = std::make_unique<tests::Process>(
      std::vector<std::string>{tests::Program("tiltshift-scheduler"), "--listen", address_,
                               "--redis", redis_->address(), "--blobs", folder_ + "/blobs",
                               "--lease-seconds", "1", "--log-level", "warn", "--farm-cpus",
                               cores_.farm, "--client-cpus", cores_.clients, "--metrics",
                               absl::StrCat("127.0.0.1:", metrics_port_)},
      folder_);
  const auto channel = grpc::CreateChannel(address_, grpc::InsecureChannelCredentials());
  TS_CHECK(channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(20)));
  farm_ = v1::Farm::NewStub(channel);
}

FarmStage::BesideClients::BesideClients(const FarmStage& stage) {
  TS_CHECK(sched_getaffinity(0, sizeof(before_), &before_) == 0);
  const auto cpus = Cpus::Parse(stage.cores_.clients);
  TS_CHECK(cpus.ok());
  cpus->Keep();
}

FarmStage::BesideClients::~BesideClients() { sched_setaffinity(0, sizeof(before_), &before_); }

FarmStage::~FarmStage() {
  scheduler_.reset();
  redis_.reset();
  Schedule(SCHED_OTHER);
  fs::remove_all(folder_);
}

std::string FarmStage::Submit(uint64_t variants) {
  grpc::ClientContext context;
  v1::SubmitRequest request;
  *request.mutable_spec() = Spec(variants);
  v1::SubmitResponse response;
  const grpc::Status status = farm_->Submit(&context, request, &response);
  TS_CHECK(status.ok());
  return response.job_id();
}

void FarmStage::SubmitMany(int jobs, uint64_t variants) {
  std::vector<std::thread> submitters;
  for (int i = 0; i < kSubmitters; ++i) {
    submitters.emplace_back([=, this] {
      for (int job = i; job < jobs; job += kSubmitters) Submit(variants);
    });
  }
  for (std::thread& submitter : submitters) submitter.join();
}

v1::Job FarmStage::Job(const std::string& id) {
  grpc::ClientContext context;
  v1::GetJobRequest request;
  request.set_job_id(id);
  v1::Job job;
  TS_CHECK(farm_->GetJob(&context, request, &job).ok());
  return job;
}

void FarmStage::Cancel(const std::string& id) {
  grpc::ClientContext context;
  v1::CancelJobRequest request;
  request.set_job_id(id);
  v1::Job job;
  TS_CHECK(farm_->CancelJob(&context, request, &job).ok());
}

double FarmStage::SchedulerMiB() const {
  std::ifstream in(absl::StrCat("/proc/", scheduler_->pid(), "/statm"));
  double total = 0, resident = 0;
  in >> total >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1 << 20);
}

double FarmStage::Metric(const std::string& series) const {
  return tests::Sample(tests::Scrape(metrics_port_), series);
}

}  // namespace tiltshift::bench
