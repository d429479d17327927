// Simulations for long, by hand: see docs/simulator.md.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>

#include "base/file.h"
#include "base/status.h"
#include "tests/simulator/farm_simulator.h"

int main(int argc, char** argv) {
  using namespace tiltshift;
  CLI::App app{"Simulates a farm and its faults; a seed is the same every time.", "farm_sim"};
  app.footer(
      "Examples:\n  farm_sim everything --seeds 100\n  farm_sim everything --seed 17   # again, "
      "with the end of its log\n  farm_sim my_scenario.txt\n");
  std::string scenario_name;
  uint64_t seed = 1;
  int seeds = 1;
  app.add_option("scenario", scenario_name, "a file, or a name in tests/simulator/scenarios")
      ->required();
  app.add_option("--seed", seed, "the first")->capture_default_str();
  app.add_option("--seeds", seeds, "how many, one after the other")->capture_default_str();
  CLI11_PARSE(app, argc, argv);

  if (!std::filesystem::exists(scenario_name)) {
    scenario_name =
        absl::StrCat(TILTSHIFT_SOURCE_DIR, "/tests/simulator/scenarios/", scenario_name, ".txt");
  }
  const auto text = ReadFile(scenario_name);
  const auto scenario =
      text.ok() ? tests::ParseScenario(*text) : absl::StatusOr<tests::Scenario>(text.status());
  if (!scenario.ok()) {
    std::fprintf(stderr, "farm_sim: %s\n", Message(scenario.status()).c_str());
    return 2;
  }
  const std::string folder =
      (std::filesystem::temp_directory_path() / absl::StrCat("farm-sim-", getpid())).string();
  for (const uint64_t end = seed + seeds; seed < end; ++seed) {
    std::filesystem::create_directories(folder);
    const auto start = std::chrono::steady_clock::now();
    tests::SimulationResult result;
    {
      tests::FarmSimulator simulator(*scenario, seed, folder);
      result = simulator.Run([&](const std::string& how_far) {
        if (isatty(2)) std::fprintf(stderr, "\r\033[Kseed %lu: %s", seed, how_far.c_str());
      });
    }
    std::filesystem::remove_all(folder);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    if (isatty(2)) std::fprintf(stderr, "\r\033[K");
    std::printf(
        "seed %lu: %s; %.0f s simulated in %.1f s, %lu turns, %lu renders of %lu variants, %d "
        "deaths, %d "
        "leaderships, %d restarts of Redis\n",
        seed, result.wrong.empty() ? "right" : "WRONG", result.simulated_seconds, took.count(),
        result.turns, result.rendered, result.variants, result.worker_deaths, result.leaderships,
        result.redis_restarts);
    if (result.wrong.empty()) continue;
    for (const std::string& line : result.last) std::printf("  %s\n", line.c_str());
    return 1;
  }
  return 0;
}
