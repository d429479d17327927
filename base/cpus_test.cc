#include "base/cpus.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>

namespace tiltshift {
namespace {

int FirstOfOurs() {
  cpu_set_t ours;
  EXPECT_EQ(sched_getaffinity(0, sizeof(ours), &ours), 0);
  int cpu = 0;
  while (!CPU_ISSET(cpu, &ours)) ++cpu;
  return cpu;
}

TEST(Cpus, KeepsAThreadThere) {
  const int cpu = FirstOfOurs();
  const auto cpus = Cpus::Parse(std::to_string(cpu));
  ASSERT_TRUE(cpus.ok()) << cpus.status();
  std::thread([&] {
    cpus->Keep();
    cpu_set_t now;
    ASSERT_EQ(sched_getaffinity(0, sizeof(now), &now), 0);
    EXPECT_EQ(CPU_COUNT(&now), 1);
    EXPECT_TRUE(CPU_ISSET(cpu, &now));
  }).join();
}

TEST(Cpus, EmptyLeavesAThreadWhereItIs) {
  const auto cpus = Cpus::Parse("");
  ASSERT_TRUE(cpus.ok());
  std::thread([&] {
    cpu_set_t before, after;
    ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
    cpus->Keep();
    ASSERT_EQ(sched_getaffinity(0, sizeof(after), &after), 0);
    EXPECT_TRUE(CPU_EQUAL(&before, &after));
  }).join();
}

TEST(Cpus, RefusesWhatIsNoList) {
  for (const char* list : {"x", "1-", "-1", "3-2", "0,", "0 1", "99999", "4294967296"})
    EXPECT_EQ(Cpus::Parse(list).status().code(), absl::StatusCode::kInvalidArgument) << list;
}

TEST(Cpus, RefusesAProcessorThatIsNotThere) {
  const auto cpus = Cpus::Parse("1023");
  ASSERT_FALSE(cpus.ok());
  EXPECT_NE(cpus.status().message().find("processor 1023"), std::string::npos) << cpus.status();
}

}  // namespace
}  // namespace tiltshift
