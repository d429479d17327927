#include "base/file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

namespace tiltshift {
namespace {

namespace fs = std::filesystem;

class FileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(::testing::TempDir()) /
              ::testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string Path(const std::string& name) const { return (folder_ / name).string(); }
  fs::path folder_;
};

TEST_F(FileTest, FirstWriterWins) {
  EXPECT_EQ(*WriteFileAtomic(Path("a/b.txt"), "first", IfPresent::kKeep), Written::kCreated);
  EXPECT_EQ(*WriteFileAtomic(Path("a/b.txt"), "second", IfPresent::kKeep), Written::kKept);
  EXPECT_EQ(*ReadFile(Path("a/b.txt")), "first");
}

TEST_F(FileTest, ReplaceReplacesAndLeavesNoTemporary) {
  EXPECT_EQ(*WriteFileAtomic(Path("x"), "1", IfPresent::kReplace), Written::kCreated);
  EXPECT_EQ(*WriteFileAtomic(Path("x"), "2", IfPresent::kReplace), Written::kReplaced);
  EXPECT_EQ(*ReadFile(Path("x")), "2");
  int files = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(folder_)) ++files;
  EXPECT_EQ(files, 1);
}

TEST_F(FileTest, MissingFileSaysWhich) {
  const auto read = ReadFile(Path("none"));
  EXPECT_EQ(read.status().code(), absl::StatusCode::kNotFound);
  EXPECT_NE(read.status().message().find(Path("none")), std::string::npos);
}

TEST_F(FileTest, ReadStopsAtTheLimit) {
  ASSERT_TRUE(WriteFileAtomic(Path("big"), std::string(100, 'x'), IfPresent::kKeep).ok());
  EXPECT_EQ(ReadFile(Path("big"), 99).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(ReadFile(Path("big"), 100).ok());
}

TEST_F(FileTest, MappingHoldsTheBytes) {
  ASSERT_TRUE(WriteFileAtomic(Path("m"), "mapped", IfPresent::kKeep).ok());
  auto file = MappedFile::Open(Path("m"));
  ASSERT_TRUE(file.ok()) << file.status();
  MappedFile moved = std::move(*file);
  EXPECT_EQ(moved.bytes(), "mapped");
}

TEST(LinkOrCopy, TheNameIsTheOldFileOrTheNewOne) {
  const std::string folder = ::testing::TempDir() + "/link_or_copy";
  std::filesystem::remove_all(folder);
  ASSERT_TRUE(WriteFileAtomic(folder + "/from", "new", IfPresent::kReplace).ok());
  ASSERT_TRUE(LinkOrCopy(folder + "/from", folder + "/fresh").ok());
  EXPECT_EQ(*ReadFile(folder + "/fresh"), "new");
  EXPECT_TRUE(std::filesystem::equivalent(folder + "/from", folder + "/fresh"));
  ASSERT_TRUE(WriteFileAtomic(folder + "/old", "old", IfPresent::kReplace).ok());
  ASSERT_TRUE(LinkOrCopy(folder + "/from", folder + "/old").ok());
  ASSERT_TRUE(LinkOrCopy(folder + "/from", folder + "/old").ok());  // one file already
  EXPECT_EQ(*ReadFile(folder + "/old"), "new");
  const auto files = std::distance(std::filesystem::directory_iterator(folder), {});
  EXPECT_EQ(files, 3);  // nothing temporary
  EXPECT_EQ(LinkOrCopy(folder + "/none", folder + "/x").code(), absl::StatusCode::kNotFound);
}

TEST(LinkOrCopy, CopiesWhereNoLinkCanBe) {
  const std::string from = "/dev/shm/tiltshift-link-" + std::to_string(getpid()),
                    to = ::testing::TempDir() + "/copied";
  if (!WriteFileAtomic(from, "bytes", IfPresent::kReplace).ok())
    GTEST_SKIP() << "needs /dev/shm, another file system";
  EXPECT_TRUE(LinkOrCopy(from, to).ok());
  EXPECT_TRUE(LinkOrCopy(from, to).ok());
  std::filesystem::remove(from);
  EXPECT_EQ(*ReadFile(to), "bytes");
}

}  // namespace
}  // namespace tiltshift
