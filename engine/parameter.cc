#include "engine/parameter.h"

#include <algorithm>

#include "base/check.h"
#include "base/file.h"

namespace tiltshift::engine {

int64_t Parameter::elements() const {
  int64_t elements = 1;
  for (const int64_t dim : shape) elements *= dim;
  return elements;
}

namespace {

// Calls f(view, at) for each piece of the stacked views that lies in elements [first, first + count); `at` counts
// from `first`.
template <class F>
void ForPieces(const std::vector<TensorView>& stack, int64_t first, int64_t count, const F& f) {
  int64_t begin = 0;
  for (const TensorView& view : stack) {
    const int64_t end = begin + view.elements();
    const int64_t from = std::max(begin, first), to = std::min(end, first + count);
    if (from < to) {
      const int64_t bytes = DtypeBytes(view.dtype);
      f(TensorView{view.dtype, {}, view.bytes.substr((from - begin) * bytes, (to - from) * bytes)},
        from - first);
    }
    begin = end;
  }
}

}  // namespace

void Parameter::CopyRows(int64_t first, std::span<float> out) const {
  const int64_t row = elements() / shape[0];
  TS_CHECK(out.size() % row == 0);
  CopyElements(first * row, out);
}

void Parameter::CopyElements(int64_t first, std::span<float> out) const {
  const auto count = static_cast<int64_t>(out.size());
  int64_t copied = 0;
  ForPieces(parts, first, count, [&](const TensorView& piece, int64_t at) {
    TS_CHECK(CopyAsFloat(piece, out.subspan(at, piece.elements())).ok());
    copied += piece.elements();
  });
  TS_CHECK(copied == count);
  std::vector<float> more;
  ForPieces(addends, first, count, [&](const TensorView& piece, int64_t at) {
    more.resize(piece.elements());
    TS_CHECK(CopyAsFloat(piece, more).ok());
    for (const float value : more) out[at++] += value;
  });
}

void Parameter::Release() const {
  for (const TensorView& part : parts) {
    if (part.mapped) MappedFile::Release(part.bytes);
  }
}

}  // namespace tiltshift::engine
