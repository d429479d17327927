// Packed panels against the order that their header gives, element by element, and in any parts.
#include "engine/cpu/panel_packing.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <random>

#include "engine/cpu/isa.h"

namespace tiltshift::engine::cpu {
namespace {

struct PackCase {
  std::vector<int64_t> shape;
  Dtype dtype = Dtype::kF32;
  simd::PanelLayout layout = {};
  int parts = 1;         // that the rows are stacked of
  bool addends = false;  // a second stack, which is added
};

// Finite numbers of the type, the smallest among them, and their bytes.
std::string RandomBytes(int64_t count, Dtype dtype, int seed) {
  std::mt19937 random(seed);
  std::string bytes;
  for (int64_t i = 0; i < count; ++i) {
    uint32_t bits = random();
    const uint32_t exponent = dtype == Dtype::kF16 ? 0x4000 : 0x40000000;  // its highest bit
    if (dtype == Dtype::kBf16) bits >>= 16;
    bits &= ~(dtype == Dtype::kBf16 ? exponent >> 16 : exponent);
    if (i % 17 == 0)
      bits &= dtype == Dtype::kF32 ? 0x807fffff : dtype == Dtype::kF16 ? 0x83ff : 0x807f;
    bytes.append(reinterpret_cast<const char*>(&bits), DtypeBytes(dtype));
  }
  return bytes;
}

class PanelPackingTest : public ::testing::TestWithParam<PackCase> {
 protected:
  void SetUp() override {
    if (!HasAmx()) GTEST_SKIP() << "no AMX on this processor";
    const PackCase& pack = GetParam();
    parameter_.shape = pack.shape;
    std::vector<int64_t> shape = pack.shape;
    shape[0] /= pack.parts;
    int64_t count = 1;
    for (const int64_t n : shape) count *= n;
    for (int i = 0; i < (pack.addends ? 2 : 1) * pack.parts; ++i)
      bytes_.push_back(RandomBytes(count, pack.dtype, i));
    for (size_t i = 0; i < bytes_.size(); ++i)
      (i < static_cast<size_t>(pack.parts) ? parameter_.parts : parameter_.addends)
          .push_back({pack.dtype, shape, bytes_[i]});
  }

  // Element [step][term][tile][pair][column][2] of each panel, by the header's words.
  std::vector<uint16_t> Expected() const {
    const simd::PanelLayout& layout = GetParam().layout;
    std::vector<float> floats(parameter_.elements());
    parameter_.CopyTo(floats);
    const int64_t columns = parameter_.shape[0], depth = parameter_.elements() / columns;
    const int64_t places = depth / parameter_.shape[1];
    std::vector<uint16_t> expected;
    for (int64_t panel = 0; panel < simd::PanelsFor(columns); ++panel)
      for (int64_t step = 0; step < depth / 32; ++step)
        for (int term = 0; term < layout.terms; ++term)
          for (int64_t tile = 0; tile < 2; ++tile)
            for (int64_t i = 0; i < 16 * 32; ++i) {
              const int64_t n = i / 2 % 16, channel = step / places * 32 + i / 32 * 2 + i % 2;
              const int64_t column =
                  layout.pairs ? panel * 16 + n + tile * columns / 2 : panel * 32 + tile * 16 + n;
              float left =
                  column < columns ? floats[column * depth + channel * places + step % places] : 0;
              for (int t = 0; t < term; ++t)
                left -= std::bit_cast<float>(uint32_t{FloatToBfloat16(left)} << 16);
              expected.push_back(FloatToBfloat16(left));
            }
    return expected;
  }

  std::vector<std::string> bytes_;
  Parameter parameter_;
};

TEST_P(PanelPackingTest, IsInItsOrderWhateverPartIsAskedFor) {
  const PanelPacking packing(parameter_, GetParam().layout);
  const std::vector<uint16_t> expected = Expected();
  ASSERT_EQ(packing.bytes(), expected.size() * sizeof(uint16_t));
  const std::string_view all(reinterpret_cast<const char*>(expected.data()), packing.bytes());
  for (const uint64_t part : {packing.bytes(), uint64_t{100'003}, uint64_t{4096}, uint64_t{1000}}) {
    std::string packed(packing.bytes(), '?');
    for (uint64_t at = 0; at < packed.size(); at += part)
      packing.Pack(at, std::span(packed).subspan(at, std::min(part, packed.size() - at)));
    EXPECT_TRUE(packed == all) << "in parts of " << part;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Packs, PanelPackingTest,
    ::testing::Values(PackCase{{32, 32}}, PackCase{{64, 1120}, Dtype::kF16},
                      PackCase{{96, 64}, Dtype::kBf16, {.terms = 1}, 3},
                      PackCase{{36, 96}, Dtype::kF16, {.terms = 2}},
                      PackCase{{64, 96}, Dtype::kF16, {.terms = 1, .pairs = true}},
                      PackCase{{64, 64}, Dtype::kF32, {.terms = 2, .pairs = true}},
                      PackCase{{40, 64, 3, 3}, Dtype::kF16},
                      PackCase{{32, 96, 3, 3}, Dtype::kF32, {.terms = 2}},
                      PackCase{{4, 320, 3, 3}, Dtype::kBf16},
                      PackCase{{64, 64, 1, 1}, Dtype::kF16, {.terms = 2}, 2, true}));

}  // namespace
}  // namespace tiltshift::engine::cpu
