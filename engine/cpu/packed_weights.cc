#include "engine/cpu/packed_weights.h"

#include <algorithm>
#include <bit>

#include "engine/cpu/simd/amx_product.h"

namespace tiltshift::engine::cpu {
namespace {

// To nearest, ties to even.
uint16_t ToBf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

}  // namespace

dnnl::memory PackedWeights::Packed(const Parameter& parameter, const dnnl::memory::desc& plain,
                                   const dnnl::memory::desc& packed) {
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<Entry>& entries = packed_[&parameter];
  for (const Entry& entry : entries) {
    if (entry.desc == packed) return entry.memory;
  }
  std::vector<float> floats(parameter.elements());
  parameter.CopyTo(floats);
  dnnl::memory from(plain, engine_, floats.data());
  char* bytes = arena_.New(packed.get_size());
  if (bytes == nullptr) throw dnnl::error(dnnl_out_of_memory, "weights");
  dnnl::memory to(packed, engine_, bytes);
  dnnl::stream stream(engine_);
  dnnl::reorder(from, to).execute(stream, from, to);
  stream.wait();
  entries.push_back({packed, to});
  return to;
}

std::span<const uint16_t> PackedWeights::Panels(const Parameter& parameter) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto [found, made] = panels_.try_emplace(&parameter);
  if (!made) return found->second;
  const int64_t columns = parameter.shape[0];
  const int64_t in = parameter.shape[1];
  const int64_t depth = parameter.elements() / columns;
  const int64_t places = depth / in;
  const int64_t steps = depth / simd::kStepDepth;
  const int64_t elements = simd::PanelsFor(columns) * simd::PanelElements(steps);
  auto* panels = reinterpret_cast<uint16_t*>(arena_.New(elements * sizeof(uint16_t)));
  if (panels == nullptr) throw dnnl::error(dnnl_out_of_memory, "weights");
  std::fill_n(panels, elements, 0);
  std::vector<float> floats(parameter.elements());
  parameter.CopyTo(floats);
  for (int64_t n = 0; n < columns; ++n) {
    for (int64_t k = 0; k < depth; ++k) {
      const int64_t place = k / in, channel = k % in;
      panels[simd::PackedAt(k, n, steps)] = ToBf16(floats[(n * in + channel) * places + place]);
    }
  }
  return found->second = {panels, static_cast<size_t>(elements)};
}

const float* PackedWeights::Floats(const Parameter& parameter) {
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<float>& floats = floats_[&parameter];
  if (floats.empty()) {
    floats.resize(parameter.elements());
    parameter.CopyTo(floats);
  }
  return floats.data();
}

}  // namespace tiltshift::engine::cpu
