#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_join.h"
#include "base/file.h"
#include "tests/simulator/farm_simulator.h"

namespace tiltshift::tests {
namespace {

using ::testing::HasSubstr;

Scenario Read(const std::string& name) {
  const std::string path =
      absl::StrCat(TILTSHIFT_SOURCE_DIR, "/tests/simulator/scenarios/", name, ".txt");
  return *ParseScenario(*ReadFile(path));
}

SimulationResult Simulate(const Scenario& scenario, uint64_t seed) {
  FarmSimulator simulator(scenario, seed, FreshFolder());
  SimulationResult result = simulator.Run();
  EXPECT_EQ(result.wrong, "") << "seed " << seed << "\n" << absl::StrJoin(result.last, "\n");
  std::printf(
      "seed %lu: %.0f s simulated, %lu turns, %lu renders of %lu variants, %d deaths, %d "
      "leaderships, %d restarts of Redis\n",
      seed, result.simulated_seconds, result.turns, result.rendered, result.variants,
      result.worker_deaths, result.leaderships, result.redis_restarts);
  return result;
}

class SimulatorTest : public ::testing::TestWithParam<const char*> {};

// I1, I3, then liveness.
TEST_P(SimulatorTest, NothingIsLostAndEverythingEnds) {
  for (uint64_t seed = 1; seed <= 3; ++seed) Simulate(Read(GetParam()), seed);
}

INSTANTIATE_TEST_SUITE_P(Scenarios, SimulatorTest,
                         ::testing::Values("everything", "leaders", "killers"),
                         [](const auto& info) { return std::string(info.param); });

TEST(Simulator, ASeedIsTheSameAgain) {
  const Scenario scenario = Read("everything");
  const SimulationResult once = Simulate(scenario, 7), again = Simulate(scenario, 7);
  EXPECT_EQ(once.log_hash, again.log_hash);
  EXPECT_EQ(once.logged, again.logged);
  EXPECT_NE(Simulate(scenario, 8).log_hash, once.log_hash);
}

TEST(Simulator, AScenarioIsReadStrictly) {
  EXPECT_THAT(std::string(ParseScenario("workers 3\nworker 4\n").status().message()),
              HasSubstr("line 2: \"worker 4\""));
  EXPECT_FALSE(ParseScenario("workers many").ok());
  EXPECT_EQ(ParseScenario("# none\n workers 7 # seven\n")->workers, 7);
}

}  // namespace
}  // namespace tiltshift::tests
