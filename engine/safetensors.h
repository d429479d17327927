// Weights as Hugging Face stores them: memory-mapped, never copied, and believed only after every byte of
// the header was checked.
//
// The format (huggingface.co/docs/safetensors): 8 bytes little-endian header length N; N bytes of JSON
// {"name": {"dtype": "F16", "shape": [2, 3], "data_offsets": [begin, end]}, "__metadata__": {...}}, which may
// end in spaces; then the tensors' bytes, row-major and little-endian, offsets counted from the header's end.
//
// Refused with DataLoss, naming the file and the tensor: a length that does not fit the file or passes 100
// MB; anything but that JSON (unknown or missing keys, a name twice, invalid UTF-8, deep nesting); an
// unknown dtype; a shape whose size overflows or differs from its bytes; tensors that overlap, leave a gap,
// or do not end with the file.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/status.h"

namespace tiltshift::engine {

enum class Dtype { kBool, kU8, kI8, kF8E4M3, kF8E5M2, kI16, kU16, kF16, kBf16, kI32, kU32, kF32, kI64, kU64, kF64 };

// "F16", as the file spells it.
std::string_view DtypeName(Dtype dtype);
int DtypeBytes(Dtype dtype);

// One tensor, as bytes of the file. The bytes may be unaligned: read them with memcpy or CopyAsFloat.
struct TensorView {
  Dtype dtype = Dtype::kF32;
  std::vector<int64_t> shape;  // empty: a scalar
  std::string_view bytes;

  int64_t elements() const;
};

// Converts F32, F16 or BF16 (each exact) into out, whose size must be view.elements(); F64 rounds.
// InvalidArgument for a dtype that is no floating-point number.
absl::Status CopyAsFloat(const TensorView& view, std::span<float> out);

// Names in the order of their bytes in std::map's sense: sorted.
using TensorMap = std::map<std::string, TensorView, std::less<>>;

// Checks a whole file's bytes; the views point into them. `file` is what errors call it.
absl::StatusOr<TensorMap> ParseSafetensors(std::string_view bytes, const std::string& file);

// The weights of one component of a model: one file, or shards listed by `<stem>.safetensors.index.json`.
class Weights {
 public:
  // Looks in `folder` for `<stem>.safetensors`, else for the index. diffusers' stem is
  // "diffusion_pytorch_model", transformers' "model". NotFound if neither is there: the message lists what
  // was looked for, and says so when only .bin or .fp16 files are there.
  static absl::StatusOr<Weights> Open(const std::string& folder, const std::string& stem);

  // The tensor, which must have that shape. NotFound names the folder and the tensor; DataLoss gives both
  // shapes. The view lives as long as this object.
  absl::StatusOr<TensorView> Get(std::string_view name, std::span<const int64_t> shape) const;
  absl::StatusOr<TensorView> Get(std::string_view name, std::initializer_list<int64_t> shape) const {
    return Get(name, std::span<const int64_t>(shape.begin(), shape.size()));
  }

  // Null if there is none: for tensors a configuration makes optional.
  const TensorView* Find(std::string_view name) const;

  const TensorMap& tensors() const { return tensors_; }
  // The mapped files, in the index's order: what a model's hash is taken over.
  const std::vector<MappedFile>& files() const { return files_; }

 private:
  std::string where_;
  std::vector<MappedFile> files_;
  TensorMap tensors_;
};

}  // namespace tiltshift::engine
