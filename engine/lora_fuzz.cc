// Any bytes are either refused or give layers whose factors fit each other.
#include <cmath>
#include <cstdint>

#include "base/check.h"
#include "engine/lora_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tiltshift::engine;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto layers = ReadLoraLayers(bytes, "fuzz");
  if (!layers.ok()) return 0;
  TS_CHECK(!layers->empty());
  for (const auto& [name, layer] : *layers) {
    TS_CHECK(layer.rank() > 0 && layer.down.elements() > 0 && layer.up.elements() > 0);
    TS_CHECK(std::isfinite(layer.scale));
    const bool mid = !layer.mid.shape.empty();
    TS_CHECK(layer.up.shape[1] == (mid ? layer.mid.shape[0] : layer.rank()));
    TS_CHECK(!mid || layer.mid.shape[1] == layer.rank());
  }
  return 0;
}
