// NVML by the real way of loading it, from a library that answers as NVIDIA's does.
#include "monitoring/nvml.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "monitoring/card_watch.h"
#include "tests/support/process.h"
#include "tests/support/scrape.h"

namespace tiltshift::monitoring {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kFake[] = TILTSHIFT_FAKE_NVML;
constexpr int kPatienceMs = 20'000;

TEST(Nvml, ReadsWhatEachCardTells) {
  auto nvml = Nvml::Load(kFake);
  ASSERT_TRUE(nvml.ok()) << nvml.status();
  const auto cards = (*nvml)->Read();
  ASSERT_EQ(cards.size(), 2u);
  EXPECT_EQ(cards[0].uuid, "GPU-0000aaaa-11");
  EXPECT_TRUE(cards[0].parts.empty());
  EXPECT_EQ(cards[1].parts, std::vector<std::string>{"MIG-4444cccc-55"});
  EXPECT_EQ(cards[0].utilization, 0.97);
  EXPECT_EQ(cards[0].memory_used_bytes, 30'000'000'000u);
  EXPECT_EQ(cards[0].memory_bytes, 80'000'000'000u);
  EXPECT_EQ(cards[0].power_watts, 412.5);
  EXPECT_EQ(cards[0].temperature_celsius, 61);
  EXPECT_EQ(cards[0].uncorrected_errors, 2u);
  EXPECT_EQ(cards[0].xids, std::vector<uint64_t>{79});
  EXPECT_FALSE(cards[1].utilization.has_value());
  EXPECT_FALSE(cards[1].temperature_celsius.has_value());
  EXPECT_EQ(cards[1].memory_bytes, 80'000'000'000u);
  EXPECT_TRUE((*nvml)->Read()[0].xids.empty()) << "told once";
}

TEST(Nvml, SaysWhyThereIsNone) {
  EXPECT_EQ(Nvml::Load("libnvidia-of-nobody.so.1").status().code(), absl::StatusCode::kNotFound);
  const absl::Status other = Nvml::Load("libz.so.1").status();
  EXPECT_THAT(Message(other), HasSubstr("libz.so.1 lacks calls of NVML"));
  setenv("FAKE_NVML", "init", 1);
  EXPECT_THAT(Message(Nvml::Load(kFake).status()), HasSubstr("Driver Not Loaded"));
  setenv("FAKE_NVML", "none", 1);
  EXPECT_EQ(Nvml::Load(kFake).status().code(), absl::StatusCode::kNotFound);
  unsetenv("FAKE_NVML");
}

TEST(CardWatch, FindsTheCardsOfThisProcess) {
  const CardReading card{.index = 1, .uuid = "GPU-2222bbbb-33", .parts = {"MIG-4444cccc-55"}};
  EXPECT_TRUE(IsVisible(card, nullptr));
  EXPECT_TRUE(IsVisible(card, "0,1"));
  EXPECT_TRUE(IsVisible(card, "GPU-2222"));
  EXPECT_FALSE(IsVisible(card, "0"));
  EXPECT_FALSE(IsVisible(card, "GPU-0000"));
  EXPECT_FALSE(IsVisible(card, ""));
  for (const char* part : {"MIG-4444cccc-55", "MIG-4444", "MIG-GPU-2222bbbb-33/3/0", "0,MIG-4444"})
    EXPECT_TRUE(IsVisible(card, part)) << part;
  for (const char* other : {"MIG-5555", "MIG-GPU-0000aaaa-11/3/0", "0,-1,1", "-1"})
    EXPECT_FALSE(IsVisible(card, other)) << other;
}

TEST(CardWatch, ExportsWhatItReads) {
  Registry registry;
  const int port = tests::FreePort();
  ASSERT_TRUE(registry.Serve("127.0.0.1:" + std::to_string(port)).ok());
  CardWatch watch(registry, {.library = kFake, .every_ms = 10, .visible_devices = "0"});
  ASSERT_TRUE(tests::WaitFor([&] { return watch.Latest().has_value(); }, kPatienceMs));
  EXPECT_EQ(watch.Latest()->power_watts, 412.5);
  const std::string text = tests::Scrape(port);
  for (const auto& [series, value] :
       std::map<std::string, double>{{"tiltshift_gpu_utilization_ratio", 0.97},
                                     {"tiltshift_gpu_memory_used_bytes", 3e10},
                                     {"tiltshift_gpu_memory_bytes", 8e10},
                                     {"tiltshift_gpu_power_watts", 412.5},
                                     {"tiltshift_gpu_temperature_celsius", 61},
                                     {"tiltshift_gpu_uncorrected_errors", 2},
                                     {"tiltshift_gpu_last_xid", 79},
                                     {"tiltshift_gpu_xid_errors_total", 1}})
    EXPECT_EQ(tests::Sample(text, series + "{gpu=\"0\"}"), value) << series;
  EXPECT_THAT(text, Not(HasSubstr("gpu=\"1\"")));
}

TEST(CardWatch, ExportsNothingThatACardDoesNotTell) {
  Registry registry;
  const int port = tests::FreePort();
  ASSERT_TRUE(registry.Serve("127.0.0.1:" + std::to_string(port)).ok());
  CardWatch watch(registry, {.library = kFake, .visible_devices = "MIG-4444cccc-55"});
  ASSERT_TRUE(tests::WaitFor([&] { return watch.Latest().has_value(); }, kPatienceMs));
  const std::string text = tests::Scrape(port);
  EXPECT_EQ(tests::Sample(text, "tiltshift_gpu_memory_bytes{gpu=\"1\"}"), 8e10);
  EXPECT_THAT(text, Not(HasSubstr("tiltshift_gpu_power_watts")));
}

TEST(CardWatch, ExportsNothingWithoutACard) {
  Registry registry;
  const int port = tests::FreePort();
  ASSERT_TRUE(registry.Serve("127.0.0.1:" + std::to_string(port)).ok());
  std::string said;
  {
    CardWatch watch(registry, {.library = "libnvidia-of-nobody.so.1",
                               .log = [&](const auto& line) { said = line; }});
  }
  EXPECT_THAT(said, HasSubstr("no card is watched: no NVML: libnvidia-of-nobody.so.1"));
  EXPECT_THAT(tests::Scrape(port), Not(HasSubstr("gpu")));
}

}  // namespace
}  // namespace tiltshift::monitoring
