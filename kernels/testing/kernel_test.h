// A test of kernels: in the emulator everything is tracked, and a finding fails the test.
#pragma once

#include <gtest/gtest.h>

#include "kernels/runtime.h"

#ifdef TILTSHIFT_EMULATED
#include "kernels/emulation/card.h"
#endif

namespace tiltshift::kernels::testing {

class KernelTest : public ::testing::Test {
#ifdef TILTSHIFT_EMULATED
 protected:
  void TearDown() override {
    EXPECT_EQ(emulation::Describe(emulation::TheCard().findings().Take()), "");
    emulation::ResetError();
  }

 private:
  emulation::Tracked tracked_;
#endif
};

}  // namespace tiltshift::kernels::testing
