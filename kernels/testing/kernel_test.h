// A test of kernels: in the emulator everything is tracked, and a finding fails the test.
#pragma once

#include <gtest/gtest.h>

#include "kernels/runtime.h"

#ifdef TILTSHIFT_EMULATED
#include "kernels/emulation/card.h"
#endif

namespace tiltshift::kernels::testing {

// Needs a card, or its emulation.
class CardTest : public ::testing::Test {
 protected:
  void SetUp() override {
    int cards = 0;
    if (cudaGetDeviceCount(&cards) != cudaSuccess || cards == 0) GTEST_SKIP() << "no card here";
  }
};

class KernelTest : public CardTest {
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
