#include "engine/cpu/packed_weights.h"

#include <algorithm>

#include "engine/cpu/dnnl_version.h"
#include "engine/cpu/panel_packing.h"
#include "engine/cpu/parallel.h"

namespace tiltshift::engine::cpu {
namespace {

constexpr int64_t kSharedBytes = int64_t{256} << 10;  // that one thread packs at a time
constexpr int64_t kSharedElements = int64_t{64} << 10;

// All cores, also where a slot has one: the others wait for these weights.
int AllCores() { return omp_get_num_procs(); }

// f(first, count) over shares of `all`.
template <class F>
void InShares(int64_t all, int64_t share, const F& f) {
  ParallelFor((all + share - 1) / share, AllCores(),
              [&](int64_t i, int) { f(i * share, std::min(share, all - i * share)); });
}

// Empty where it is not to be kept.
std::string KeyOf(const Parameter& parameter, const std::string& layout) {
  return parameter.key.empty() || layout.empty() ? "" : absl::StrCat(parameter.key, "|", layout);
}

// To be read later; its pages go with the last who holds it.
std::shared_ptr<const Parameter> ReadOnce(const Parameter& parameter) {
  return {&parameter, [](const Parameter* done) { done->Release(); }};
}

const char* PlaceOf(const Parameter& parameter) { return parameter.parts[0].bytes.data(); }

}  // namespace

const char* PackedWeights::Known(const std::string& key, size_t bytes) const {
  return key.empty() || pack_ == nullptr ? nullptr : pack_->Find(key, bytes);
}

char* PackedWeights::NewRoom(size_t bytes) {
  char* room = arena_.New(bytes);
  if (room == nullptr) throw dnnl::error(dnnl_out_of_memory, "weights");
  return room;
}

dnnl::memory PackedWeights::Packed(const Parameter& parameter, const dnnl::memory::desc& plain,
                                   const dnnl::memory::desc& packed) {
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<Entry>& entries = packed_[&parameter];
  for (const Entry& entry : entries) {
    if (entry.desc == packed) return entry.memory;
  }
  const size_t bytes = packed.get_size();
  const auto at = [&](char* place) {
    entries.push_back({packed, dnnl::memory(packed, engine_, place)});
    return entries.back().memory;
  };
  const std::string key = KeyOf(parameter, LayoutName(packed));
  if (measure_only_) measured_bytes_ += bytes;
  if (measure_only_ || (writer_ != nullptr && key.empty())) return at(Nowhere());
  // Nobody writes to what is not made here, and the pages would not let them.
  if (const char* known = Known(key, bytes)) return at(const_cast<char*>(known));

  const auto reorder = [read = ReadOnce(parameter), plain, packed, engine = engine_](char* room) {
    std::vector<float> floats(read->elements());
    InShares(read->elements(), kSharedElements, [&](int64_t first, int64_t count) {
      read->CopyElements(first, std::span(floats).subspan(first, count));
    });
    dnnl::memory from(plain, engine, floats.data()), to(packed, engine, room);
    dnnl::stream stream(engine);
    dnnl::reorder(from, to).execute(stream, from, to);
    stream.wait();
  };
  if (writer_ != nullptr) {
    const auto fill = [reorder](uint64_t, std::span<char> out) { reorder(out.data()); };
    writer_->Add(key, bytes, {fill, PackWriter::Parts::kAll, PlaceOf(parameter)});
    return at(Nowhere());
  }
  char* const room = NewRoom(bytes);
  reorder(room);
  return at(room);
}

std::span<const uint16_t> PackedWeights::Panels(const Parameter& parameter,
                                                const simd::PanelLayout& layout) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto found = panels_.find({&parameter, layout});
  if (found != panels_.end()) return found->second;
  const PanelPacking packing(parameter, layout);
  const uint64_t bytes = packing.bytes();
  const auto at = [&](const char* place) {
    return panels_[{&parameter, layout}] = {reinterpret_cast<const uint16_t*>(place),
                                            bytes / sizeof(uint16_t)};
  };
  const std::string key =
      KeyOf(parameter, absl::StrCat("panels", layout.terms, layout.pairs ? "p" : ""));
  if (measure_only_) {
    measured_bytes_ += bytes;
    return at(Nowhere());
  }
  if (writer_ != nullptr) {
    if (!key.empty()) {
      const auto fill = [packing, read = ReadOnce(parameter)](uint64_t from, std::span<char> out) {
        packing.Pack(from, out);
      };
      writer_->Add(key, bytes, {fill, PackWriter::Parts::kAny, PlaceOf(parameter)});
    }
    return at(Nowhere());
  }
  if (const char* known = Known(key, bytes)) return at(known);
  char* const room = NewRoom(bytes);
  InShares(static_cast<int64_t>(bytes), kSharedBytes, [&](int64_t first, int64_t count) {
    packing.Pack(first, {room + first, static_cast<size_t>(count)});
  });
  parameter.Release();
  return at(room);
}

const float* PackedWeights::Floats(const Parameter& parameter) {
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<float>& floats = floats_[&parameter];
  if (floats.empty()) {
    floats.resize(parameter.elements());
    measured_bytes_ += floats.size() * sizeof(float);
    if (!measure_only_ && writer_ == nullptr) parameter.CopyTo(floats);
  }
  return floats.data();
}

}  // namespace tiltshift::engine::cpu
