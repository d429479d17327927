#include "access/audit_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdio>

#include "absl/strings/str_split.h"
#include "base/file.h"
#include "tests/support/process.h"

namespace tiltshift::access {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class AuditLogTest : public ::testing::Test {
 protected:
  static v1::AuditLine Line(const std::string& job) {
    v1::AuditLine line;
    line.set_method("tiltshift.v1.Farm/CancelJob");
    line.set_job(job);
    line.set_code("OK");
    return line;
  }
  static std::vector<std::string> Lines(const std::string& path) {
    return absl::StrSplit(*ReadFile(path), '\n', absl::SkipEmpty());
  }

  const std::string path_ = tests::FreshFolder() + "/audit.log";
};

TEST_F(AuditLogTest, ALineACallForItsOwnerAlone) {
  auto log = AuditLog::Open(path_);
  ASSERT_TRUE(log.ok()) << log.status();
  ASSERT_TRUE((*log)->Write(Line("j\"1\n"), 1'500).ok());
  ASSERT_TRUE((*log)->Write(Line("j2"), 2'500).ok());
  EXPECT_THAT(
      Lines(path_),
      ElementsAre(R"({"time":"1970-01-01T00:00:01.500Z","method":"tiltshift.v1.Farm/CancelJob",)"
                  R"("job":"j\"1\n","code":"OK"})",
                  HasSubstr(R"("job":"j2")")));
  struct stat file {};
  ASSERT_EQ(stat(path_.c_str(), &file), 0);
  EXPECT_EQ(file.st_mode & 0777, 0600u);
}

TEST_F(AuditLogTest, GoesOnInANewFileWhereItsOwnWasMovedAway) {
  auto log = AuditLog::Open(path_);
  ASSERT_TRUE(log.ok());
  ASSERT_TRUE((*log)->Write(Line("j1"), 1).ok());
  const std::string old = path_ + ".1";
  ASSERT_EQ(std::rename(path_.c_str(), old.c_str()), 0);
  ASSERT_TRUE((*log)->Write(Line("j2"), 1).ok());
  ASSERT_TRUE((*log)->Reopen().ok());
  ASSERT_TRUE((*log)->Write(Line("j3"), 1).ok());
  EXPECT_EQ(Lines(old).size(), 2u);
  EXPECT_THAT(Lines(path_), ElementsAre(HasSubstr("j3")));
}

// Whoever asks a thousand times a second fills no disk, and what was done is in it all the same.
TEST_F(AuditLogTest, AFloodOfRefusalsIsCounted) {
  auto log = AuditLog::Open(path_);
  ASSERT_TRUE(log.ok());
  for (int i = 0; i < 1'000; ++i) ASSERT_TRUE((*log)->WriteRefusal(Line("no"), 5'000).ok());
  ASSERT_TRUE((*log)->Write(Line("done"), 5'500).ok());
  const auto lines = Lines(path_);
  ASSERT_EQ(lines.size(), AuditLog::kRefusals + 1u);
  EXPECT_THAT(lines.back(), HasSubstr(R"("omitted":"900")"));
  ASSERT_TRUE((*log)->WriteRefusal(Line("no"), 6'000).ok());
  EXPECT_EQ(Lines(path_).size(), AuditLog::kRefusals + 2u);
}

TEST_F(AuditLogTest, WhereItCannotBe) {
  EXPECT_THAT(Message(AuditLog::Open("/nowhere/audit.log").status()),
              HasSubstr("cannot open the audit log"));
  auto full = AuditLog::Open("/dev/full");
  ASSERT_TRUE(full.ok()) << full.status();
  EXPECT_EQ((*full)->Write(Line("j1"), 1).code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace tiltshift::access
