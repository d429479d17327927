#include "engine/cpu/packed_weights.h"

namespace tiltshift::engine::cpu {

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
  dnnl::memory to(packed, engine_);
  dnnl::stream stream(engine_);
  dnnl::reorder(from, to).execute(stream, from, to);
  stream.wait();
  entries.push_back({packed, to});
  return to;
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
