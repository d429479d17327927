// What the farm holds: simulated workers that speak the session protocol to a real scheduler over a
// real Redis with its append-only file, each figure beside its limit, measured in the same run.
//
//   farm_bench                         everything, some minutes
//   farm_bench --only turns,latency    turns, limits, range, scattered, latency, fleet, growth,
//                                      large
//   farm_bench --json --csv growth.csv --svg growth.svg
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/check.h"
#include "bench/farm_limits.h"
#include "bench/farm_load.h"
#include "bench/farm_report.h"
#include "bench/farm_stage.h"

namespace tiltshift::bench {
namespace {

constexpr uint64_t kEndless = uint64_t{1} << 32;
constexpr double kPatience = 60;
constexpr double kCores = 2;

struct Options {
  double seconds = 4;
  int rounds = 3;
  int workers = 64;
  std::vector<std::string> only;
  bool divided = true, json = false;
  std::string csv, svg, echo;
};

struct Report {
  std::vector<Figure> figures;
  std::vector<Point> points;
};

// A load on a farm that is warm, with what it took of each process.
struct Measured {
  LoadResult result;
  double scheduler_cpu = 0, redis_cpu = 0, own_cpu = 0;
  double idle = 0;  // of the processors, in seconds
  double AllCpu() const { return scheduler_cpu + redis_cpu + own_cpu; }
  double MicrosATurn(double cpu) const {
    return 1e6 * cpu / static_cast<double>(std::max<uint64_t>(1, result.turns));
  }
};

void Note(const std::string& what) { std::fprintf(stderr, "%s\n", what.c_str()); }

Measured Measure(FarmStage& stage, const LoadOptions& options, double seconds) {
  const FarmStage::BesideClients place(stage);
  Load load(options);
  TS_CHECK(load.Connect(kPatience));
  load.Run(std::min(1.0, seconds));
  Measured measured;
  const double scheduler = stage.SchedulerCpu(), redis = stage.RedisCpu(),
               own = CpuSeconds(getpid()), idle = IdleSeconds();
  measured.result = load.Run(seconds);
  measured.scheduler_cpu = stage.SchedulerCpu() - scheduler;
  measured.redis_cpu = stage.RedisCpu() - redis;
  measured.own_cpu = CpuSeconds(getpid()) - own;
  measured.idle = IdleSeconds() - idle;
  TS_CHECK(measured.result.broken == 0 && measured.result.stale == 0);
  return measured;
}

LoadOptions On(const FarmStage& stage) {
  LoadOptions options;
  options.address = stage.address();
  return options;
}

// The same client against a server that only answers.
LoadResult MeasureEcho(double seconds) {
  const std::string address = absl::StrCat("unix:/tmp/tiltshift-echo-", getpid());
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  const auto folder = std::filesystem::temp_directory_path();
  tests::Process server({self, "--echo", address}, folder);
  LoadOptions options;
  options.address = address;
  LoadResult result;
  {
    Load load(options);
    TS_CHECK(load.Connect(kPatience));
    load.Run(std::min(1.0, seconds));
    result = load.Run(seconds);
  }
  unlink(address.c_str() + 5);
  return result;
}

// Turns as fast as they go: `variants` a turn, in one range or scattered.
void Throughput(const Options& options, const std::string& name, uint64_t variants, bool scattered,
                const std::string& goal, Report& report) {
  std::vector<double> rates, ceilings, code, scheduler, redis, client, idle, others;
  for (int round = 0; round < options.rounds; ++round) {
    Note(absl::StrCat(name, ", round ", round + 1));
    code.push_back(CodeTurnsPerSecond(variants, scattered, options.seconds / 4));
    FarmStage stage(options.divided);
    stage.Submit(kEndless);
    LoadOptions load = On(stage);
    load.variants_a_turn = variants;
    load.workers = options.workers;
    load.scattered = scattered;
    const Measured measured = Measure(stage, load, options.seconds);
    const double rate =
        variants > 1 ? measured.result.VariantsPerSecond() : measured.result.TurnsPerSecond();
    rates.push_back(rate);
    ceilings.push_back(rate * kCores * measured.result.seconds / measured.AllCpu());
    const double cores = kCores * measured.result.seconds / 100;
    idle.push_back(measured.idle / cores);
    others.push_back(100 - (measured.idle + measured.AllCpu()) / cores);
    scheduler.push_back(measured.MicrosATurn(measured.scheduler_cpu));
    redis.push_back(measured.MicrosATurn(measured.redis_cpu));
    client.push_back(measured.MicrosATurn(measured.own_cpu));
  }
  const std::string unit = variants > 1 ? "variants/s" : "turns/s";
  const double each = variants > 1 ? static_cast<double>(variants) : 1;
  report.figures.push_back(
      {name, Median(rates), unit, Median(ceilings), "both cores busy with these processes", goal});
  report.figures.push_back({name + ": beside the code alone", Median(rates), unit,
                            each * Median(code), "Farm and messages, one thread", ""});
  report.figures.push_back({name + ": scheduler", Median(scheduler), "us/turn", 0, "", ""});
  report.figures.push_back({name + ": Redis", Median(redis), "us/turn", 0, "", ""});
  report.figures.push_back({name + ": client", Median(client), "us/turn", 0, "", ""});
  report.figures.push_back({name + ": cores idle", Median(idle), "%", 0, "", ""});
  report.figures.push_back({name + ": cores with other processes", Median(others), "%", 0, "", ""});
}

void Limits(const Options& options, const Report& so_far, Report& report) {
  Note("limits");
  const double turns = so_far.figures.empty() ? 0 : so_far.figures.front().value;
  const LoadResult echo = MeasureEcho(options.seconds);
  RedisRates redis;
  {
    FarmStage stage;  // for its server: the scheduler there is idle
    auto address = store::ParseRedisAddress(stage.redis_address());
    TS_CHECK(address.ok());
    address->database = 1;
    redis = MeasureRedis(*address, options.seconds / 2);
  }
  report.figures.push_back({"turns: beside plain gRPC", turns, "turns/s", echo.TurnsPerSecond(),
                            "the same client, answered at once", ""});
  report.figures.push_back({"turns: beside Redis alone", turns, "turns/s", redis.turns,
                            "the same writes in groups of 64", ""});
  report.figures.push_back({"EVALSHA of nothing", redis.nothing_scripts, "calls/s", 0, "", ""});
  report.figures.push_back({"FCALL of an epoch check", redis.nothing_functions, "calls/s",
                            redis.nothing_scripts, "EVALSHA of nothing", ""});
}

void Latency(const Options& options, Report& report) {
  std::vector<double> rates, p50, p99;
  for (int round = 0; round < options.rounds; ++round) {
    Note(absl::StrCat("latency, round ", round + 1));
    FarmStage stage;
    stage.Submit(kEndless);
    LoadOptions load = On(stage);
    load.turns_per_second = 10'000;
    const Measured measured = Measure(stage, load, options.seconds);
    rates.push_back(measured.result.TurnsPerSecond());
    p50.push_back(measured.result.p50_ms);
    p99.push_back(measured.result.p99_ms);
  }
  report.figures.push_back({"10,000 turns/s asked for: done", Median(rates), "turns/s", 10'000,
                            "what was asked for", ""});
  report.figures.push_back({"10,000 turns/s: p50 of a turn", Median(p50), "ms", 0, "", ""});
  report.figures.push_back({"10,000 turns/s: p99 of a turn", Median(p99), "ms", 0, "", "< 10"});
}

// 4,000 workers with a connection each, heartbeats and a turn in 30 s as real ones have.
void Fleet(Report& report) {
  constexpr int kFleet = 4'000;
  constexpr double kLongerThanALease = 25;
  Note("4,000 workers");
  FarmStage stage;
  stage.Submit(kEndless);
  LoadOptions load = On(stage);
  load.workers = load.channels = kFleet;
  load.turns_per_second = kFleet / 30.0;
  const Measured measured = Measure(stage, load, kLongerThanALease);
  report.figures.push_back(
      {"4,000 workers: scheduler's memory", stage.SchedulerMiB(), "MiB", 0, "", "< 1,000"});
  report.figures.push_back({"4,000 workers: leases that missed a heartbeat",
                            stage.Metric("tiltshift_leases_expired_total"), "", 0, "", "0"});
  report.figures.push_back({"4,000 workers: the scheduler's processor",
                            100 * measured.scheduler_cpu / measured.result.seconds, "% of a core",
                            0, "", ""});
  report.figures.push_back(
      {"4,000 workers: p99 of a turn", measured.result.p99_ms, "ms", 0, "", ""});
}

Point MeasurePoint(const std::string& curve, int workers, int jobs, double seconds) {
  Note(absl::StrCat(curve, ": ", workers, " workers, ", jobs, " jobs"));
  FarmStage stage;
  stage.SubmitMany(jobs, kEndless);
  LoadOptions load = On(stage);
  load.workers = workers;
  load.channels = workers > 1'000 ? workers / 10 : std::min(workers, 64);
  load.turns_per_second = 1'000;
  const Measured measured = Measure(stage, load, seconds);
  return {curve,
          static_cast<double>(curve == "jobs" ? jobs : workers),
          measured.MicrosATurn(measured.scheduler_cpu),
          measured.MicrosATurn(measured.redis_cpu),
          measured.result.p50_ms,
          measured.result.p99_ms,
          stage.SchedulerMiB()};
}

void Growth(const Options& options, Report& report) {
  for (const int workers : {10, 100, 1'000, 4'000, 10'000})
    report.points.push_back(MeasurePoint("workers", workers, 1, options.seconds));
  for (const int jobs : {1, 10, 100, 1'000, 10'000})
    report.points.push_back(MeasurePoint("jobs", 64, jobs, options.seconds));
}

template <typename Work>
double Milliseconds(const Work& work) {
  const auto start = SteadyClock::now();
  work();
  return std::chrono::duration<double, std::milli>(SteadyClock::now() - start).count();
}

// A job of 10,000,000 variants: taken in, asked about, done to the end; another, cancelled.
void Large(const Options& options, Report& report) {
  constexpr uint64_t kVariants = 10'000'000;
  Note("10,000,000 variants");
  FarmStage stage;
  std::vector<double> submit, status, cancel;
  std::string id;
  for (int round = 0; round < std::max(5, options.rounds); ++round) {
    submit.push_back(Milliseconds([&] { id = stage.Submit(kVariants); }));
    if (round < 4) stage.Cancel(id);
  }
  LoadOptions load = On(stage);
  load.variants_a_turn = 10'000;
  {
    Load workers(load);
    TS_CHECK(workers.Connect(kPatience));
    workers.Run(kPatience, [&] {
      v1::Job job;
      status.push_back(Milliseconds([&] { job = stage.Job(id); }));
      return job.ended_unix_ms() != 0;
    });
  }
  TS_CHECK(stage.Job(id).committed() == kVariants);
  const auto bits = stage.redis().Run({"STRLEN", "ts:job:" + id + ":done"});
  TS_CHECK(bits.ok());
  for (int round = 0; round < std::max(3, options.rounds); ++round) {
    id = stage.Submit(kVariants);
    Load workers(load);
    TS_CHECK(workers.Connect(kPatience));
    workers.Run(0.2);
    cancel.push_back(Milliseconds([&] { stage.Cancel(id); }));
  }
  report.figures.push_back({"10,000,000 variants: submit", Median(submit), "ms", 0, "", "< 100"});
  report.figures.push_back({"10,000,000 variants: bitmap in Redis", 1e-6 * bits->integer, "MB",
                            1.25, "a bit a variant", "1.25"});
  report.figures.push_back(
      {"10,000,000 variants: status, while committed", Median(status), "ms", 0, "", "< 10"});
  report.figures.push_back(
      {"10,000,000 variants: cancel, while leased", Median(cancel), "ms", 0, "", "< 1,000"});
}

void Save(const std::string& path, const std::string& text) {
  if (!path.empty()) std::ofstream(path) << text;
}

int Run(const Options& options) {
  // A connection a simulated worker.
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);

  const std::set<std::string> only(options.only.begin(), options.only.end());
  const auto wanted = [&](const std::string& what) {
    return only.empty() || only.count(what) != 0;
  };
  Report report;
  if (wanted("turns"))
    Throughput(options, "turns of one variant", 1, false, ">= 80,000, share >= 90%", report);
  if (wanted("limits")) Limits(options, report, report);
  if (wanted("range"))
    Throughput(options, "turns of a range of 100", 100, false, ">= 5,000,000", report);
  if (wanted("scattered"))
    Throughput(options, "turns of 100, scattered", 100, true, ">= 500,000", report);
  if (wanted("latency")) Latency(options, report);
  if (wanted("fleet")) Fleet(report);
  if (wanted("growth")) Growth(options, report);
  if (wanted("large")) Large(options, report);
  if (options.json) {
    std::printf("%s\n", ToJson(report.figures, report.points).c_str());
  } else {
    PrintTable(report.figures, report.points);
  }
  Save(options.csv, ToCsv(report.points));
  Save(options.svg, ToSvg(report.points));
  return 0;
}

}  // namespace
}  // namespace tiltshift::bench

int main(int argc, char** argv) {
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);  // as the scheduler does
  using namespace tiltshift::bench;
  CLI::App app{"Measures the farm: scheduler, Redis and simulated workers on this machine."};
  Options options;
  app.add_option("--seconds", options.seconds, "of each measurement")->capture_default_str();
  app.add_option("--rounds", options.rounds, "whose median is shown")->capture_default_str();
  app.add_option("--only", options.only,
                 "some of turns, limits, range, scattered, latency, fleet, growth, large")
      ->delimiter(',');
  app.add_option("--workers", options.workers, "of turns, range and scattered")
      ->capture_default_str();
  app.add_flag("--divided,!--undivided", options.divided,
               "turns, range and scattered: Redis and planning on one processor, clients and who "
               "serves them on another, as batch threads (the default), or as the kernel does");
  app.add_flag("--json", options.json, "JSON in place of the table");
  app.add_option("--csv", options.csv, "file for what grows with workers and jobs");
  app.add_option("--svg", options.svg, "file for the same as a picture");
  app.add_option("--echo", options.echo, "serve only answers on this address (for itself)")
      ->group("");
  CLI11_PARSE(app, argc, argv);
  return options.echo.empty() ? Run(options) : ServeEcho(options.echo);
}
