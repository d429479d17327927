#include "base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>
#include <sstream>

namespace tiltshift {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

constexpr char kTrace[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

class LogTest : public ::testing::Test {
 protected:
  void TearDown() override {
    SetLogEpoch(0);
    SetLogWorker("");
    StartLog({});
  }
  std::vector<std::string> Lines(const std::function<void()>& write) {
    testing::internal::CaptureStdout();
    write();
    spdlog::default_logger()->flush();
    std::istringstream text(testing::internal::GetCapturedStdout());
    std::vector<std::string> lines;
    for (std::string line; std::getline(text, line);) lines.push_back(line);
    return lines;
  }
};

TEST_F(LogTest, LinesInJsonSayWhatTheyAreAbout) {
  StartLog({.json = true});
  SetLogEpoch(7);
  SetLogWorker("w");
  const auto lines = Lines([] {
    const LogScope job({.job = "j1", .shard = 12, .trace = kTrace});
    spdlog::warn("a \"quoted\"\nline \x01 for {}", "äöü");
    {
      const LogScope variant({.variant = 0});
      LogEvent("stored", {.worker = "other"});
    }
    spdlog::debug("not at this level");
    spdlog::info("no \xff UTF-8");
  });
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(json::parse(lines[2])["message"], "no \uFFFD UTF-8");
  const json first = json::parse(lines[0]), second = json::parse(lines[1]);
  EXPECT_EQ(first["message"], "a \"quoted\"\nline \x01 for äöü");
  EXPECT_EQ(first["level"], "warning");
  EXPECT_EQ(first["job"], "j1");
  EXPECT_EQ(first["shard"], 12);
  EXPECT_EQ(first["worker"], "w");
  EXPECT_EQ(first["epoch"], 7);
  EXPECT_EQ(first["trace"], "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_FALSE(first.contains("variant"));
  EXPECT_THAT(first["time"].get<std::string>(),
              testing::MatchesRegex("....-..-..T..:..:..\\....Z"));
  EXPECT_EQ(second["message"], "stored");
  EXPECT_EQ(second["variant"], 0);
  EXPECT_EQ(second["job"], "j1") << "of the scope around it";
  EXPECT_EQ(second["worker"], "other");
}

TEST_F(LogTest, PeopleSeeNoEvents) {
  StartLog({});
  const auto lines = Lines([] {
    const LogScope job({.job = "j1"});
    LogEvent("stored");
    spdlog::info("a line");
  });
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_THAT(lines[0], HasSubstr(" info a line"));
}

TEST(Trace, IdsOfTraceparents) {
  EXPECT_EQ(TraceId(kTrace), "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(TraceId(NewTraceparent()).size(), 32u);
  EXPECT_NE(NewTraceparent(), NewTraceparent());
  for (const char* wrong : {"", "00", "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
                            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
                            "00-4bf92f3577b34da6a3ce929d0e0e4736x00f067aa0ba902b7-01",
                            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"})
    EXPECT_EQ(TraceId(wrong), "") << wrong;
}

}  // namespace
}  // namespace tiltshift
