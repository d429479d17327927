#include "engine/finite.h"

#include <cstring>

namespace tiltshift::engine {
namespace {

// NaN and infinity have every bit of the exponent set. A block is looked through without a branch.
template <typename Bits>
std::optional<int64_t> FirstWithExponent(std::string_view bytes, Bits exponent) {
  constexpr size_t kBlock = 1024;
  const size_t count = bytes.size() / sizeof(Bits);
  const auto at = [&](size_t i) {
    Bits bits;
    std::memcpy(&bits, bytes.data() + i * sizeof(Bits), sizeof(Bits));
    return (bits & exponent) == exponent;
  };
  for (size_t block = 0; block < count; block += kBlock) {
    const size_t end = std::min(count, block + kBlock);
    bool any = false;
    for (size_t i = block; i < end; ++i) any |= at(i);
    if (!any) continue;
    for (size_t i = block; i < end; ++i) {
      if (at(i)) return static_cast<int64_t>(i);
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<int64_t> FirstNotFinite(const TensorView& view) {
  switch (view.dtype) {
    case Dtype::kF16:
      return FirstWithExponent<uint16_t>(view.bytes, 0x7c00);
    case Dtype::kBf16:
      return FirstWithExponent<uint16_t>(view.bytes, 0x7f80);
    case Dtype::kF32:
      return FirstWithExponent<uint32_t>(view.bytes, 0x7f800000);
    case Dtype::kF64:
      return FirstWithExponent<uint64_t>(view.bytes, 0x7ff0000000000000);
    default:
      return std::nullopt;
  }
}

}  // namespace tiltshift::engine
