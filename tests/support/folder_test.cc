#include "tests/support/folder_test.h"

#include <filesystem>

namespace tiltshift::tests {
namespace {

constexpr int kPatienceMs = 10'000;

bool Removed(const std::string& folder) {
  std::error_code error;
  std::filesystem::remove_all(folder, error);
  return !error;
}

}  // namespace

// Again and again: a killed worker's own children (a moderator, a decoder) may write a moment more.
FolderTest::~FolderTest() {
  if (HasFailure()) return;
  EXPECT_TRUE(WaitFor([this] { return Removed(folder_); }, kPatienceMs)) << folder_;
}

}  // namespace tiltshift::tests
