// Weights in the layouts that oneDNN's kernels want, made once and shared by every program of a
// model.
#pragma once

#include <dnnl.hpp>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "engine/cpu/aligned.h"
#include "engine/cpu/simd/amx_product.h"
#include "engine/parameter.h"

namespace tiltshift::engine::cpu {

// Safe to use from many threads. What it returns lives as long as it does.
// May throw dnnl::error.
class PackedWeights {
 public:
  explicit PackedWeights(dnnl::engine engine) : engine_(std::move(engine)) {}

  // `parameter`, whose floats lie as `plain` says, in the layout and type of `packed`. Made at the
  // first call; a layout that another size of picture wants is another copy.
  dnnl::memory Packed(const Parameter& parameter, const dnnl::memory::desc& plain,
                      const dnnl::memory::desc& packed);
  // A filter [out, in, kh, kw] or matrix [out, in] as the panels of simd/amx_product.h; k runs over
  // blocks of 32 input channels, of which there must be whole ones, in each over the filter's
  // places, and fastest over the block's channels. With layout.pairs there must be whole 32 outputs.
  std::span<const uint16_t> Panels(const Parameter& parameter, const simd::PanelLayout& layout);
  // The floats as they are: biases, scales and shifts.
  const float* Floats(const Parameter& parameter);

 private:
  struct Entry {
    dnnl::memory::desc desc;
    dnnl::memory memory;
  };

  dnnl::engine engine_;
  std::mutex mutex_;
  Arena arena_;
  std::map<const Parameter*, std::vector<Entry>> packed_;
  std::map<std::pair<const Parameter*, simd::PanelLayout>, std::span<const uint16_t>> panels_;
  std::map<const Parameter*, std::vector<float>> floats_;
};

}  // namespace tiltshift::engine::cpu
