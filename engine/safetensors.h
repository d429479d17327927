// Weights as Hugging Face stores them: memory-mapped, never copied, and believed only after every
// byte of the header was checked.
//
// The format (huggingface.co/docs/safetensors): 8 bytes little-endian header length N; N bytes of
// JSON, which may end in spaces,
//   {"name": {"dtype": "F16", "shape": [2, 3], "data_offsets": [begin, end]}, "__metadata__":
//   {...}}
// and then the tensors' bytes, row-major and little-endian, offsets counted from the header's end.
//
// Refused with DataLoss, naming the file and the tensor: a length that does not fit the file or
// passes 100 MB; anything but that JSON (unknown or missing keys, a name twice, invalid UTF-8, deep
// nesting); an unknown dtype; a shape whose size overflows or differs from its bytes; tensors that
// overlap, leave a gap, or do not end with the file.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace tiltshift::engine {

enum class Dtype {
  // clang-format off
  kBool, kU8, kI8, kF8E4M3, kF8E5M2, kI16, kU16, kF16, kBf16, kI32, kU32, kF32, kI64, kU64, kF64
  // clang-format on
};

// "F16", as the file spells it; nothing for a name that is not of these.
std::string_view DtypeName(Dtype dtype);
std::optional<Dtype> DtypeFromName(std::string_view name);
int DtypeBytes(Dtype dtype);

// One tensor, as bytes of the file. The bytes may be unaligned: read them with memcpy or
// CopyAsFloat.
struct TensorView {
  Dtype dtype = Dtype::kF32;
  std::vector<int64_t> shape;  // empty: a scalar
  std::string_view bytes;
  bool mapped = false;   // the bytes are of a mapped file
  bool changed = false;  // they are not what the file says

  int64_t elements() const;
};

// Converts F32, F16 or BF16 (each exact) into out, whose size must be view.elements(); F64 rounds.
// InvalidArgument for a dtype that is no floating-point number.
absl::Status CopyAsFloat(const TensorView& view, std::span<float> out);

// To nearest, ties to even.
uint16_t FloatToBfloat16(float value);

// Sorted by name.
using TensorMap = std::map<std::string, TensorView, std::less<>>;

// Checks a whole file's bytes; the views point into them. `file` is what errors call it.
absl::StatusOr<TensorMap> ParseSafetensors(std::string_view bytes, const std::string& file);

}  // namespace tiltshift::engine
