#include "engine/cpu/packed_weights.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "engine/cpu/dnnl_version.h"
#include "engine/cpu/parallel.h"

namespace tiltshift::engine::cpu {
namespace {

float FromBf16(uint16_t value) { return std::bit_cast<float>(uint32_t{value} << 16); }

// A row of a filter [in][places] in the order of k: blocks of 32 channels, in each the places, in those the channels.
// Term t of a weight is what the terms before it left, rounded; each lies `term` elements after the one before.
void OrderRow(const float* row, int64_t in, int64_t places, int terms, int64_t term, uint16_t* out) {
  for (int64_t block = 0; block < in; block += simd::kStepDepth) {
    for (int64_t place = 0; place < places; ++place) {
      const float* from = row + block * places + place;
      for (int64_t c = 0; c < simd::kStepDepth; ++c, ++out) {
        float left = from[c * places];
        for (int t = 0; t < terms; ++t) {
          out[t * term] = FloatToBfloat16(left);
          left -= FromBf16(out[t * term]);
        }
      }
    }
  }
}

constexpr int64_t kTileColumns = 16;

// The floats of a panel's columns; those past the last are zero.
std::vector<float> ColumnsOf(const Parameter& parameter, int64_t panel, const simd::PanelLayout& layout) {
  const int64_t depth = parameter.elements() / parameter.shape[0];
  std::vector<float> floats(simd::kPanelColumns * depth);
  if (layout.pairs) {
    for (int64_t i = 0; i < 2; ++i) {
      parameter.CopyRows(panel * kTileColumns + i * parameter.shape[0] / 2,
                         std::span(floats).subspan(i * kTileColumns * depth, kTileColumns * depth));
    }
  } else {
    const int64_t first = panel * simd::kPanelColumns;
    const int64_t columns = std::min(simd::kPanelColumns, parameter.shape[0] - first);
    parameter.CopyRows(first, std::span(floats).first(columns * depth));
  }
  return floats;
}

void PackPanel(const Parameter& parameter, int64_t panel, const simd::PanelLayout& layout, uint16_t* out) {
  const int64_t in = parameter.shape[1];
  const int64_t depth = parameter.elements() / parameter.shape[0];
  const int64_t term = simd::kPanelColumns * depth;
  const std::vector<float> floats = ColumnsOf(parameter, panel, layout);
  std::vector<uint16_t> rows(layout.terms * term);
  for (int64_t n = 0; n < simd::kPanelColumns; ++n) {
    OrderRow(&floats[n * depth], in, depth / in, layout.terms, term, &rows[n * depth]);
  }
  for (int64_t k = 0; k < depth; k += simd::kStepDepth) {
    for (int t = 0; t < layout.terms; ++t) {
      for (int64_t tile = 0; tile < simd::kPanelColumns; tile += kTileColumns) {
        for (int64_t pair = k; pair < k + simd::kStepDepth; pair += 2) {
          for (int64_t n = tile; n < tile + kTileColumns; ++n, out += 2) {
            std::memcpy(out, &rows[t * term + n * depth + pair], 2 * sizeof(uint16_t));
          }
        }
      }
    }
  }
}

}  // namespace

PackedWeights::Place PackedWeights::PlaceFor(const Parameter& parameter, const std::string& layout, size_t bytes) {
  if (measure_only_) {
    measured_bytes_ += bytes;
    return {reinterpret_cast<char*>(this), false};
  }
  const bool keeps = !parameter.key.empty() && !layout.empty();
  const std::string key = keeps ? absl::StrCat(parameter.key, "|", layout) : "";
  // Nobody writes to what is not made here, and the pages would not let them.
  const char* packed = keeps && pack_ != nullptr ? pack_->Find(key, bytes) : nullptr;
  if (packed != nullptr) return {const_cast<char*>(packed), false};
  char* room = keeps && writer_ != nullptr ? writer_->New(key, bytes) : arena_.New(bytes);
  if (room == nullptr) throw dnnl::error(dnnl_out_of_memory, "weights");
  return {room, true};
}

dnnl::memory PackedWeights::Packed(const Parameter& parameter, const dnnl::memory::desc& plain,
                                   const dnnl::memory::desc& packed) {
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<Entry>& entries = packed_[&parameter];
  for (const Entry& entry : entries) {
    if (entry.desc == packed) return entry.memory;
  }
  const Place place = PlaceFor(parameter, LayoutName(packed), packed.get_size());
  dnnl::memory to(packed, engine_, place.bytes);
  if (!place.made) return entries.push_back({packed, to}), to;
  std::vector<float> floats(parameter.elements());
  parameter.CopyTo(floats);
  dnnl::memory from(plain, engine_, floats.data());
  dnnl::stream stream(engine_);
  dnnl::reorder(from, to).execute(stream, from, to);
  stream.wait();
  parameter.Release();
  entries.push_back({packed, to});
  return to;
}

std::span<const uint16_t> PackedWeights::Panels(const Parameter& parameter, const simd::PanelLayout& layout) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto found = panels_.find({&parameter, layout});
  if (found != panels_.end()) return found->second;
  const int64_t panel_elements =
      layout.elements(parameter.elements() / parameter.shape[0] / simd::kStepDepth);
  const int64_t panels = simd::PanelsFor(parameter.shape[0]);
  const int64_t elements = panels * panel_elements;
  const std::string name = absl::StrCat("panels", layout.terms, layout.pairs ? "p" : "");
  const Place place = PlaceFor(parameter, name, elements * sizeof(uint16_t));
  auto* packed = reinterpret_cast<uint16_t*>(place.bytes);
  const std::span<const uint16_t> all(packed, static_cast<size_t>(elements));
  if (!place.made) return panels_[{&parameter, layout}] = all;
  // All cores, also where a slot has one: the others wait for these weights.
  ParallelFor(panels, omp_get_num_procs(), [&](int64_t panel, int) {
    PackPanel(parameter, panel, layout, packed + panel * panel_elements);
  });
  parameter.Release();
  return panels_[{&parameter, layout}] = all;
}

const float* PackedWeights::Floats(const Parameter& parameter) {
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<float>& floats = floats_[&parameter];
  if (floats.empty()) {
    floats.resize(parameter.elements());
    measured_bytes_ += floats.size() * sizeof(float);
    parameter.CopyTo(floats);
  }
  return floats.data();
}

}  // namespace tiltshift::engine::cpu
