#include "tests/rooms.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"

namespace tiltshift::tests {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

RoomRules Rules() {
  const auto text = ReadFile(std::string(TILTSHIFT_SOURCE_DIR) + "/tests/rooms.txt");
  EXPECT_TRUE(text.ok()) << text.status();
  return ParseRoomRules(*text);
}

// ---- the repository as it is

TEST(Rooms, EveryIncludeIsAllowed) {
  const RoomRules rules = Rules();
  int sources = 0;
  std::vector<std::string> violations;
  for (const auto& [room, unused] : rules.may_include) {
    const fs::path folder = fs::path(TILTSHIFT_SOURCE_DIR) / room;
    if (!fs::exists(folder)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      const auto extension = entry.path().extension();
      if (extension != ".cc" && extension != ".h" && extension != ".cu" && extension != ".cuh") continue;
      const std::string path = fs::relative(entry.path(), TILTSHIFT_SOURCE_DIR).string();
      for (const auto& violation : RoomViolations(rules, path, *ReadFile(entry.path().string()))) {
        violations.push_back(violation);
      }
      ++sources;
    }
  }
  EXPECT_GT(sources, 50);
  EXPECT_THAT(violations, IsEmpty());
}

TEST(Rooms, OneTargetAFolder) {
  for (const char* room : {"base", "proto", "access", "monitoring", "picture", "seal", "engine", "plan", "store",
                           "scheduler", "worker", "cli"}) {
    const auto cmake = ReadFile(fs::path(TILTSHIFT_SOURCE_DIR) / room / "CMakeLists.txt");
    ASSERT_TRUE(cmake.ok()) << cmake.status();
    EXPECT_THAT(TargetViolations(room, *cmake), IsEmpty());
  }
}

// ---- each rule has a source that breaks it

TEST(RoomRule, UpwardInclude) {
  EXPECT_THAT(RoomViolations(Rules(), "base/file.cc", "#include \"proto/job.pb.h\"\n"),
              ElementsAre("base/file.cc includes proto/job.pb.h: base may not include proto"));
  EXPECT_THAT(RoomViolations(Rules(), "engine/unet.cc", "  # include <plan/plan.h>"),
              ElementsAre("engine/unet.cc includes plan/plan.h: engine may not include plan"));
}

TEST(RoomRule, LibraryOutsideItsFile) {
  EXPECT_THAT(RoomViolations(Rules(), "scheduler/leases.cc", "#include <hiredis/hiredis.h>\n"),
              ElementsAre(::testing::HasSubstr("which belongs in store/redis_client.cc")));
  EXPECT_THAT(RoomViolations(Rules(), "store/s3_blob_store.cc", "#include <curl/curl.h>\n"),
              ElementsAre(::testing::HasSubstr("which belongs in store/http_client.cc")));
  EXPECT_THAT(RoomViolations(Rules(), "engine/unet.cc", "#include <dnnl.hpp>\n"),
              ElementsAre(::testing::HasSubstr("which belongs in engine/cpu/")));
  EXPECT_THAT(
      RoomViolations(Rules(), "worker/session.cc", "#include <prometheus/counter.h>\n"),
      ElementsAre(::testing::HasSubstr("which belongs in monitoring/registry_prometheus.cc")));
}

TEST(RoomRule, UnknownRoom) {
  EXPECT_THAT(RoomViolations(Rules(), "misc/util.cc", "#include \"base/file.h\"\n"),
              ElementsAre("misc/util.cc is in no room that tests/rooms.txt knows"));
}

TEST(RoomRule, TestSupportIsForTests) {
  const std::string source = "#include \"tests/support/redis_server.h\"\n";
  EXPECT_THAT(RoomViolations(Rules(), "store/farm_store_test.cc", source), IsEmpty());
  EXPECT_THAT(RoomViolations(Rules(), "store/farm_store.cc", source).size(), 1u);
}

TEST(RoomRule, TwoTargetsInAFolder) {
  EXPECT_THAT(
      TargetViolations("plan", "tiltshift_room(plan SOURCES a.cc)\ntiltshift_room(spec)").size(),
      2u);
  EXPECT_THAT(TargetViolations("plan", "add_library(plan a.cc)").size(), 1u);
}

}  // namespace
}  // namespace tiltshift::tests
