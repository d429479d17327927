// What models of every family are said to be. tests/models_command_test.cc has damaged ones.
#include "engine/describe.h"

#include <gtest/gtest.h>

#include "engine/testing/parity_case.h"

namespace tiltshift::engine {
namespace {

TEST(DescribeTest, EveryFamily) {
  const std::map<std::string, std::string> kinds = {
      {"sd15", "text to image, 4 latent channels of 1/8, epsilon, text 32 wide"},
      {"sd2", "text to image, 4 latent channels of 1/8, epsilon, text 64 wide"},
      {"sd2_v", "text to image, 4 latent channels of 1/8, v-prediction, text 64 wide"},
      {"sdxl", "text to image, 4 latent channels of 1/8, epsilon, text 96 wide by 2 encoders"},
      {"image_refiner", "text to image, 4 latent channels of 1/8, epsilon, text 64 wide"},
      {"lcm", "text to image, 4 latent channels of 1/8, epsilon, text 32 wide, guidance embedded"},
      {"edit_ddim", "text and photo to image, 4 latent channels of 1/8, epsilon, text 32 wide"},
      {"mask_ddim", "inpainting, 4 latent channels of 1/8, epsilon, text 32 wide"}};
  const std::map<std::string, std::string> samplers = {
      {"sd15", "ddim"}, {"sdxl", "euler"}, {"lcm", "lcm"}};
  const auto cases = ReadParityCases(TILTSHIFT_SOURCE_DIR);
  ASSERT_TRUE(cases.ok()) << cases.status();
  size_t seen = 0;
  for (const ParityCase& parity : *cases) {
    const auto kind = kinds.find(parity.name);
    if (kind == kinds.end()) continue;
    ++seen;
    const std::string folder = ::testing::TempDir() + "describe_" + parity.name;
    ASSERT_TRUE(WriteParityModel(TILTSHIFT_SOURCE_DIR, parity, folder).ok());
    const auto description = DescribeModel(folder, {});
    ASSERT_TRUE(description.ok()) << description.status();
    EXPECT_EQ(description->kind, kind->second) << parity.name;
    EXPECT_EQ(description->parts.size(), parity.name == "sdxl" ? 4u : 3u) << parity.name;
    EXPECT_EQ(description->native_size, 64) << parity.name;
    const auto sampler = samplers.find(parity.name);
    EXPECT_TRUE(sampler == samplers.end() || description->sampler == sampler->second)
        << parity.name << ": " << description->sampler;
  }
  EXPECT_EQ(seen, kinds.size());
}

}  // namespace
}  // namespace tiltshift::engine
