#include "engine/parameter.h"

#include "base/check.h"

namespace tiltshift::engine {

int64_t Parameter::elements() const {
  int64_t elements = 1;
  for (const int64_t dim : shape) elements *= dim;
  return elements;
}

void Parameter::CopyTo(std::span<float> out) const {
  TS_CHECK(static_cast<int64_t>(out.size()) == elements());
  size_t at = 0;
  for (const TensorView& part : parts) {
    const size_t count = part.elements();
    TS_CHECK(CopyAsFloat(part, out.subspan(at, count)).ok());
    at += count;
  }
  TS_CHECK(at == out.size());
  at = 0;
  std::vector<float> more;
  for (const TensorView& addend : addends) {
    more.resize(addend.elements());
    TS_CHECK(CopyAsFloat(addend, more).ok());
    for (const float value : more) out[at++] += value;
  }
}

}  // namespace tiltshift::engine
