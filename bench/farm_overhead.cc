// What the farm costs: images a second of a job through `tiltshift render` (redis-server,
// scheduler, worker, blob store, commits), beside the same variants rendered by the same number of
// slots with the engine alone, PNG included. Each is a process of its own that loads the model once
// within the time, so that neither has it for nothing. The limit is 100%; the goal 97%.
//
//   farm_overhead SPEC [rounds]
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "plan/spec.h"
#include "worker/variant_renderer.h"

namespace {

using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

double Seconds(Clock::time_point from) {
  return std::chrono::duration<double>(Clock::now() - from).count();
}

// Images a second of the slots alone, from the model's loading to the last picture.
double EngineAlone(const tiltshift::plan::Plan& plan, int slots, const std::string& models) {
  const auto start = Clock::now();
  const auto engine = tiltshift::worker::MakeEngineRenderers({models, false});
  std::vector<std::unique_ptr<tiltshift::worker::VariantRenderer>> renderers;
  for (int i = 0; i < slots; ++i) renderers.push_back(engine->MakeOne());
  std::atomic<uint64_t> next{0};
  std::atomic<bool> failed{false};
  std::vector<std::thread> threads;
  for (auto& renderer : renderers) {
    threads.emplace_back([&] {
      for (uint64_t i; (i = next++) < plan.count();) {
        tiltshift::worker::Stops none;
        if (!renderer->Render(plan, plan.At(i), {}, none).ok()) failed = true;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  return failed ? 0 : static_cast<double>(plan.count()) / Seconds(start);
}

// What `measure` finds in a process of its own; 0 where that fails. This one has no threads.
template <typename Measure>
double InItsOwnProcess(Measure measure) {
  int ends[2];
  if (pipe(ends) != 0) return 0;
  const pid_t child = fork();
  if (child == 0) {
    const double found = measure();
    _exit(write(ends[1], &found, sizeof(found)) == sizeof(found) ? 0 : 1);
  }
  close(ends[1]);
  double found = 0;
  const bool whole = child > 0 && read(ends[0], &found, sizeof(found)) == sizeof(found);
  close(ends[0]);
  if (child > 0) waitpid(child, nullptr, 0);
  return whole ? found : 0;
}

// Images a second of the whole farm, from the first lease to the last commit.
double ThroughTheFarm(const std::string& spec, const std::string& models) {
  const std::string out = (fs::temp_directory_path() / "tiltshift-farm-overhead").string();
  fs::remove_all(out);
  const std::string program =
      (fs::read_symlink("/proc/self/exe").parent_path() / "tiltshift").string();
  const std::string command = program + " render " + spec + " --out " + out + " --models " +
                              models + " --no-sheet --json 2>/dev/null | tail -1";
  FILE* pipe = popen(command.c_str(), "r");
  std::string text;
  char block[4096];
  while (size_t n = fread(block, 1, sizeof(block), pipe)) text.append(block, n);
  const bool ok = pclose(pipe) == 0;
  const auto result = nlohmann::json::parse(text, nullptr, false);
  if (!ok || result.is_discarded() || result["state"] != "done") return 0;
  return result["variants"].get<double>() / result["seconds"].get<double>();
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: farm_overhead SPEC [rounds]\n");
    return 2;
  }
  const std::string spec_path = argv[1];
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 3;
  const std::string models = std::string(TILTSHIFT_SOURCE_DIR) + "/models";
  const auto spec = tiltshift::plan::LoadSpec(spec_path);
  const auto plan = spec.ok() ? tiltshift::plan::Plan::Create(spec->spec) : spec.status();
  if (!plan.ok()) {
    std::fprintf(stderr, "%s\n", tiltshift::Message(plan.status()).c_str());
    return 2;
  }
  const int slots = static_cast<int>(std::thread::hardware_concurrency());
  std::vector<double> alone, farm, share;
  for (int round = 0; round < rounds; ++round) {
    alone.push_back(InItsOwnProcess([&] { return EngineAlone(*plan, slots, models); }));
    farm.push_back(ThroughTheFarm(spec_path, models));
    if (alone.back() == 0 || farm.back() == 0) {
      std::fprintf(stderr, "a render failed; the bench measures nothing\n");
      return 1;
    }
    share.push_back(100 * farm.back() / alone.back());
    std::printf("round %d: engine alone %.3f images/s, through the farm %.3f, %.1f%%\n", round + 1,
                alone.back(), farm.back(), share.back());
  }
  std::printf(
      "median of %d: engine alone %.3f images/s, through the farm %.3f images/s, %.1f%% (limit "
      "100%%, goal 97%%), %d slots\n",
      rounds, Median(alone), Median(farm), Median(share), slots);
  return 0;
}
