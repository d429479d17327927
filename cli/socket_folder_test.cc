#include "cli/socket_folder.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "tests/support/process.h"

namespace tiltshift::cli {
namespace {

namespace fs = std::filesystem;

class SocketFolderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    base_ = tests::FreshFolder();
    setenv("XDG_RUNTIME_DIR", base_.c_str(), 1);
  }
  void TearDown() override {
    unsetenv("XDG_RUNTIME_DIR");
    fs::remove_all(base_);
  }
  // What a farm that was killed leaves.
  std::string Left(const std::string& name, mode_t mode = 0700) {
    const std::string path = base_ + "/" + name;
    EXPECT_EQ(mkdir(path.c_str(), mode), 0);
    for (const char* file : {"/lock", "/redis", "/scheduler"})
      EXPECT_TRUE(WriteFileAtomic(path + file, "", IfPresent::kKeep).ok());
    return path;
  }

  std::string base_;
};

TEST_F(SocketFolderTest, IsThereWhileItsFarmIs) {
  std::string folder;
  {
    const auto made = SocketFolder::Make();
    ASSERT_TRUE(made.ok()) << made.status();
    folder = fs::path(made->redis()).parent_path();
    EXPECT_EQ(fs::path(folder).parent_path(), base_);
    EXPECT_EQ(fs::status(folder).permissions(), fs::perms::owner_all);
    ASSERT_TRUE(WriteFileAtomic(made->redis(), "", IfPresent::kKeep).ok());
    const auto another = SocketFolder::Make();
    ASSERT_TRUE(another.ok()) << another.status();
    EXPECT_TRUE(fs::exists(made->redis()));  // the other one left it alone
  }
  EXPECT_FALSE(fs::exists(folder));
}

TEST_F(SocketFolderTest, WhatAKilledFarmLeftGoes) {
  const std::string left = Left("tiltshift-a1B2c3");
  ASSERT_TRUE(SocketFolder::Make().ok());
  EXPECT_FALSE(fs::exists(left));
}

TEST_F(SocketFolderTest, EverythingElseStays) {
  const std::string live = Left("tiltshift-alive0"), open_to_all = Left("tiltshift-shared", 0755),
                    full = Left("tiltshift-full00"), unlocked = Left("tiltshift-nolock"),
                    named = Left("tiltshift-anything"), target = Left("elsewhere"),
                    link = base_ + "/tiltshift-linked";
  const int lock = open((live + "/lock").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_EQ(flock(lock, LOCK_EX | LOCK_NB), 0);
  ASSERT_TRUE(WriteFileAtomic(full + "/notes", "mine", IfPresent::kKeep).ok());
  fs::remove(unlocked + "/lock");
  fs::create_symlink(target, link);
  ASSERT_TRUE(SocketFolder::Make().ok());
  for (const std::string& folder : {live, open_to_all, full, unlocked, named, target})
    EXPECT_TRUE(fs::exists(folder + "/redis")) << folder;
  EXPECT_TRUE(fs::is_symlink(link));
  close(lock);
  ASSERT_TRUE(SocketFolder::Make().ok());
  EXPECT_FALSE(fs::exists(live));  // its last process is gone
}

}  // namespace
}  // namespace tiltshift::cli
