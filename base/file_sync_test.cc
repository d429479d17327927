// What is on the disk when a write returns, told by the system calls that put it there: fsync() is
// this file's, and keeps a record.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"

namespace {

// "FOLDER: what was in it" for every folder that was synced.
std::vector<std::string>* g_synced = nullptr;

std::string Listing(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  std::string text = folder.filename().string() + ":";
  for (const std::string& name : names) text += " " + name;
  return text;
}

}  // namespace

extern "C" int fsync(int fd) {
  if (g_synced != nullptr) {
    const auto path = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd));
    if (std::filesystem::is_directory(path)) g_synced->push_back(Listing(path));
  }
  return static_cast<int>(syscall(SYS_fsync, fd));
}

namespace tiltshift {
namespace {

using ::testing::ElementsAre;

class FileSyncTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(::testing::TempDir()) / "file_sync_test" / "root";
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    g_synced = &synced_;
  }
  void TearDown() override { g_synced = nullptr; }
  std::string Path(const std::string& name) const { return (folder_ / name).string(); }

  std::filesystem::path folder_;
  std::vector<std::string> synced_;
};

TEST_F(FileSyncTest, TheFolderIsSyncedOnceTheNameIsThere) {
  ASSERT_TRUE(WriteFileAtomic(Path("kept"), "1", IfPresent::kKeep).ok());
  ASSERT_TRUE(WriteFileAtomic(Path("replaced"), "1", IfPresent::kReplace).ok());
  EXPECT_THAT(synced_, ElementsAre("root: kept", "root: kept replaced"));
}

// The first writer may have died between its link and its sync.
TEST_F(FileSyncTest, AlsoForWhomWasSecond) {
  ASSERT_TRUE(WriteFileAtomic(Path("x"), "1", IfPresent::kKeep).ok());
  synced_.clear();
  ASSERT_EQ(*WriteFileAtomic(Path("x"), "2", IfPresent::kKeep), Written::kKept);
  EXPECT_THAT(synced_, ElementsAre("root: x"));
}

TEST_F(FileSyncTest, NewFoldersAreSyncedIntoTheirParents) {
  ASSERT_TRUE(WriteFileAtomic(Path("a/b/x"), "1", IfPresent::kKeep).ok());
  EXPECT_THAT(synced_, ElementsAre("root: a", "a: b", "b: x"));
  synced_.clear();
  ASSERT_TRUE(MakeFolders(Path("a/b")).ok());
  EXPECT_THAT(synced_, ElementsAre());
}

}  // namespace
}  // namespace tiltshift
