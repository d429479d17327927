#include "engine/finite.h"

#include <omp.h>

#include <algorithm>
#include <cstring>
#include <functional>
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
    Bits any = 0;  // as wide as what is compared: whole vectors of it at a time
    for (size_t i = block; i < end; ++i) any |= static_cast<Bits>(at(i) ? ~Bits{0} : 0);
    if (any == 0) continue;
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

namespace {

absl::Status NotFinite(const std::string& where, const std::string& name, const TensorView& view,
                       int64_t element) {
  return absl::DataLossError(absl::StrCat(where, ": tensor ", Quoted(name), ": element ", element,
                                          " of [", absl::StrJoin(view.shape, ", "),
                                          "] is NaN or infinite"));
}

absl::Status CheckThose(const Weights& weights,
                        const std::function<bool(const TensorView&)>& wanted) {
  std::vector<const TensorMap::value_type*> tensors;
  for (const auto& tensor : weights.tensors()) {
    if (wanted(tensor.second)) tensors.push_back(&tensor);
  }
  std::vector<std::optional<int64_t>> bad(tensors.size());
// All cores, also where a slot has one.
#pragma omp parallel for schedule(dynamic) num_threads(omp_get_num_procs())
  for (size_t i = 0; i < tensors.size(); ++i) {
    const TensorView& view = tensors[i]->second;
    bad[i] = FirstNotFinite(view);
    if (view.mapped) MappedFile::Release(view.bytes);
  }
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (bad[i]) return NotFinite(weights.where(), tensors[i]->first, tensors[i]->second, *bad[i]);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckFinite(const Weights& weights) {
  return CheckThose(weights, [](const TensorView&) { return true; });
}
absl::Status CheckChangedFinite(const Weights& weights) {
  return CheckThose(weights, [](const TensorView& view) { return view.changed; });
}

void FiniteSearch::Add(const Weights& weights) {
  for (const auto& [name, view] : weights.tensors()) {
    Tensor& tensor = tensors_.emplace_back(weights.where(), name, view);
    if (view.mapped) {
      if (!view.bytes.empty()) by_place_[view.bytes.data()] = &tensor;
    } else {
      tensor.first_bad = FirstNotFinite(view).value_or(-1);
    }
  }
}

void FiniteSearch::Look(std::string_view bytes) {
  const char *const from = bytes.data(), *const to = from + bytes.size();
  auto at = by_place_.upper_bound(from);
  if (at != by_place_.begin()) --at;
  for (; at != by_place_.end() && at->first < to; ++at) {
    Tensor& tensor = *at->second;
    const int64_t size = DtypeBytes(tensor.view.dtype), count = tensor.view.elements();
    const auto element_at = [&](const char* place) {
      return std::clamp<int64_t>((place - at->first + size - 1) / size, 0, count);
    };
    const int64_t first = element_at(std::max(from, at->first)), last = element_at(to);
    if (first >= last) continue;
    const auto bad = FirstNotFinite(
        {tensor.view.dtype, {}, tensor.view.bytes.substr(first * size, (last - first) * size)});
    if (!bad) continue;
    const int64_t found = first + *bad;
    int64_t known = tensor.first_bad;
    while ((known < 0 || found < known) && !tensor.first_bad.compare_exchange_weak(known, found)) {
    }
  }
}

absl::Status FiniteSearch::status() const {
  for (const Tensor& tensor : tensors_) {
    if (tensor.first_bad >= 0)
      return NotFinite(tensor.where, tensor.name, tensor.view, tensor.first_bad);
  }
  return absl::OkStatus();
}

}  // namespace tiltshift::engine
