// Weights in the layouts that oneDNN's kernels and our own want, made once and shared by every
// program of a model; by all workers of a machine, where they lie in a pack (pack/weight_pack.h).
#pragma once

#include <dnnl.hpp>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "engine/cpu/aligned.h"
#include "engine/cpu/simd/amx_product.h"
#include "engine/pack/pack_writer.h"
#include "engine/pack/weight_pack.h"
#include "engine/parameter.h"

namespace tiltshift::engine::cpu {

// Raised by any change of what Panels or Packed write for the same parameter: packs of before are
// not used then.
inline constexpr int kPackingVersion = 1;

// Safe to use from many threads. What it returns lives as long as it does.
// May throw dnnl::error.
class PackedWeights {
 public:
  explicit PackedWeights(dnnl::engine engine) : engine_(std::move(engine)) {}
  // For steps that are made to find what they pack: that goes into the writer's file where it has a
  // key, and what this returns must not be read. Writer and parameters must live until the file is
  // written.
  PackedWeights(dnnl::engine engine, PackWriter* writer)
      : engine_(std::move(engine)), writer_(writer) {}
  // For steps that are made to be measured: it has room for no weights, and what it returns must
  // not be read.
  struct MeasureOnly {};
  PackedWeights(dnnl::engine engine, MeasureOnly)
      : engine_(std::move(engine)), measure_only_(true) {}
  size_t measured_bytes() const { return measured_bytes_; }
  // What the pack has is taken from there. Before anything was asked for.
  void Use(std::shared_ptr<const WeightPack> pack) { pack_ = std::move(pack); }

  // `parameter`, whose floats lie as `plain` says, in the layout and type of `packed`. Made at the
  // first call; a layout that another size of picture wants is another copy.
  dnnl::memory Packed(const Parameter& parameter, const dnnl::memory::desc& plain,
                      const dnnl::memory::desc& packed);
  // As panels (panel_packing.h).
  std::span<const uint16_t> Panels(const Parameter& parameter, const simd::PanelLayout& layout);
  // The floats as they are: biases, scales and shifts.
  const float* Floats(const Parameter& parameter);

 private:
  struct Entry {
    dnnl::memory::desc desc;
    dnnl::memory memory;
  };

  // Where the packed parameter lies in the pack; null: nowhere yet.
  const char* Known(const std::string& key, size_t bytes) const;
  char* NewRoom(size_t bytes);
  // A stand-in, where nobody packs for this object itself.
  char* Nowhere() { return reinterpret_cast<char*>(this); }

  dnnl::engine engine_;
  PackWriter* writer_ = nullptr;
  bool measure_only_ = false;
  size_t measured_bytes_ = 0;
  std::shared_ptr<const WeightPack> pack_;
  std::mutex mutex_;
  Arena arena_;
  std::map<const Parameter*, std::vector<Entry>> packed_;
  std::map<std::pair<const Parameter*, simd::PanelLayout>, std::span<const uint16_t>> panels_;
  std::map<const Parameter*, std::vector<float>> floats_;
};

}  // namespace tiltshift::engine::cpu
