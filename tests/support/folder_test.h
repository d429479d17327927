// A test with a folder of its own.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "tests/support/process.h"

namespace tiltshift::tests {

// `folder_` outlives the members of a derived fixture, so no process is left that writes into it
// when it goes. A failed test's stays, to be looked at.
class FolderTest : public ::testing::Test {
 protected:
  ~FolderTest() override;

  const std::string folder_ = FreshFolder();
};

}  // namespace tiltshift::tests
