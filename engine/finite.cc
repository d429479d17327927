#include "engine/finite.h"

#include <omp.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "absl/strings/str_join.h"
#include "engine/json_text.h"

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

absl::Status CheckFinite(const std::string& folder, const Weights& weights) {
  std::vector<const TensorMap::value_type*> tensors;
  for (const auto& tensor : weights.tensors()) tensors.push_back(&tensor);
  std::vector<std::optional<int64_t>> bad(tensors.size());
// All cores, also where a slot has one.
#pragma omp parallel for schedule(dynamic) num_threads(omp_get_num_procs())
  for (size_t i = 0; i < tensors.size(); ++i) {
    const TensorView& view = tensors[i]->second;
    bad[i] = FirstNotFinite(view);
    if (view.mapped) MappedFile::Release(view.bytes);
  }
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (!bad[i]) continue;
    return absl::DataLossError(absl::StrCat(folder, ": tensor ", Quoted(tensors[i]->first), ": element ", *bad[i],
                                            " of [", absl::StrJoin(tensors[i]->second.shape, ", "),
                                            "] is NaN or infinite"));
  }
  return absl::OkStatus();
}

}  // namespace tiltshift::engine
