// Any bytes are either refused or give views that lie inside them and may be read.
#include <cstdint>
#include <vector>

#include "base/check.h"
#include "engine/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tiltshift::engine;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto tensors = ParseSafetensors(bytes, "fuzz");
  if (!tensors.ok()) return 0;
  size_t covered = 0;
  for (const auto& [name, view] : *tensors) {
    TS_CHECK(view.bytes.data() >= bytes.data() &&
             view.bytes.data() + view.bytes.size() <= bytes.data() + size);
    TS_CHECK(view.bytes.size() == static_cast<size_t>(view.elements()) * DtypeBytes(view.dtype));
    covered += view.bytes.size();
    std::vector<float> out(view.elements());
    (void)CopyAsFloat(view, out);
  }
  uint64_t header_bytes = 0;
  for (int i = 7; i >= 0; --i) header_bytes = header_bytes << 8 | data[i];
  TS_CHECK(covered + header_bytes + 8 == size);
  return 0;
}
