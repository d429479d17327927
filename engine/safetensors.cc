#include "engine/safetensors.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>
#include <optional>
#include <utility>

#include "absl/strings/str_join.h"
#include "base/check.h"
#include "engine/json_text.h"
#include "engine/safetensors_header.h"

namespace tiltshift::engine {
namespace {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit

struct DtypeRow {
  Dtype dtype;
  std::string_view name;
  int bytes;
};
constexpr DtypeRow kDtypes[] = {
    {Dtype::kBool, "BOOL", 1},      {Dtype::kU8, "U8", 1},          {Dtype::kI8, "I8", 1},
    {Dtype::kF8E4M3, "F8_E4M3", 1}, {Dtype::kF8E5M2, "F8_E5M2", 1}, {Dtype::kI16, "I16", 2},
    {Dtype::kU16, "U16", 2},        {Dtype::kF16, "F16", 2},        {Dtype::kBf16, "BF16", 2},
    {Dtype::kI32, "I32", 4},        {Dtype::kU32, "U32", 4},        {Dtype::kF32, "F32", 4},
    {Dtype::kI64, "I64", 8},        {Dtype::kU64, "U64", 8},        {Dtype::kF64, "F64", 8},
};

constexpr const DtypeRow& Row(Dtype dtype) { return kDtypes[static_cast<size_t>(dtype)]; }
static_assert(std::all_of(std::begin(kDtypes), std::end(kDtypes),
                          [](const DtypeRow& row) { return &row == &Row(row.dtype); }));

absl::Status Damaged(const std::string& file, const std::string& what) {
  return absl::DataLossError(
      absl::StrCat(file, ": ", what, "; the file is damaged: fetch it again"));
}

// The bytes a shape takes; nothing where they pass 64 bits.
std::optional<uint64_t> ShapeBytes(const std::vector<int64_t>& shape, Dtype dtype) {
  uint64_t bytes = static_cast<uint64_t>(DtypeBytes(dtype));
  for (int64_t dim : shape) {
    if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(dim), &bytes)) return std::nullopt;
  }
  return bytes;
}

// Each tensor's bytes against its shape, then all tensors laid end to end against the file's
// `data`.
std::string CheckLayout(std::vector<SafetensorsEntry>& entries, uint64_t data_bytes) {
  std::sort(
      entries.begin(), entries.end(),
      [](const SafetensorsEntry& a, const SafetensorsEntry& b) { return a.offsets < b.offsets; });
  uint64_t end = 0;
  for (const SafetensorsEntry& e : entries) {
    const auto [from, to] = e.offsets;
    const std::string tensor = absl::StrCat("tensor ", Quoted(e.name), ": ");
    if (from > to) return absl::StrCat(tensor, "data_offsets [", from, ", ", to, "] run backwards");
    const auto bytes = ShapeBytes(e.shape, e.dtype);
    if (!bytes)
      return absl::StrCat(tensor, "the shape [", absl::StrJoin(e.shape, ", "), "] overflows");
    if (*bytes != to - from) {
      return absl::StrCat(tensor, std::string(DtypeName(e.dtype)), " [",
                          absl::StrJoin(e.shape, ", "), "] takes ", *bytes,
                          " bytes, data_offsets give it ", to - from);
    }
    if (to > data_bytes) {
      return absl::StrCat(tensor, "its data ends at byte ", to, ", the file has ", data_bytes,
                          " bytes of data: it is truncated");
    }
    if (from < end)
      return absl::StrCat(tensor, "its data overlaps another tensor's at byte ", from);
    if (from > end)
      return absl::StrCat(tensor, from - end, " bytes before its data belong to no tensor");
    end = to;
  }
  if (end != data_bytes)
    return absl::StrCat(data_bytes - end, " bytes after the last tensor belong to none");
  return "";
}

// 1 sign, 5 exponent (bias 15), 10 fraction bits; branches rather than arithmetic on float
// subnormals, which a thread may have set to flush.
float HalfToFloat(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t exponent = half >> 10 & 0x1f;
  const uint32_t fraction = half & 0x3ff;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  const uint32_t rebiased = exponent == 31 ? 255 : exponent + 112;
  return std::bit_cast<float>(sign | rebiased << 23 | fraction << 13);
}

float Bfloat16ToFloat(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

// Whole eights by the processor's own instruction, where it has one; how many were converted.
#if defined(__x86_64__)
__attribute__((target("avx,f16c"))) size_t ConvertHalves(const char* from, std::span<float> out) {
  constexpr size_t kAhead = 1024;  // a row's next part, where one is taken of each in turn
  size_t i = 0;
  for (; i + 8 <= out.size(); i += 8) {
    _mm_prefetch(from + 2 * i + kAhead, _MM_HINT_T0);
    const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 2 * i));
    _mm256_storeu_ps(&out[i], _mm256_cvtph_ps(halves));
  }
  return i;
}
// What has AVX2 has F16C, by which name clang 14 does not know to ask.
bool HasConvertHalves() { return __builtin_cpu_supports("avx2"); }
#else
size_t ConvertHalves(const char*, std::span<float>) { return 0; }
bool HasConvertHalves() { return false; }
#endif

template <typename Stored, typename F>
void Convert(const TensorView& view, std::span<float> out, F to_float) {
  for (size_t i = 0; i < out.size(); ++i) {
    Stored stored;
    std::memcpy(&stored, view.bytes.data() + i * sizeof(stored), sizeof(stored));
    out[i] = to_float(stored);
  }
}

}  // namespace

std::optional<Dtype> DtypeFromName(std::string_view name) {
  for (const DtypeRow& row : kDtypes) {
    if (row.name == name) return row.dtype;
  }
  return std::nullopt;
}

std::string_view DtypeName(Dtype dtype) { return Row(dtype).name; }

int DtypeBytes(Dtype dtype) { return Row(dtype).bytes; }

int64_t TensorView::elements() const {
  return static_cast<int64_t>(bytes.size()) / DtypeBytes(dtype);
}

uint16_t FloatToBfloat16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

absl::Status CopyAsFloat(const TensorView& view, std::span<float> out) {
  TS_CHECK(static_cast<int64_t>(out.size()) == view.elements());
  switch (view.dtype) {
    case Dtype::kF32:
      Convert<float>(view, out, [](float v) { return v; });
      break;
    case Dtype::kF64:
      Convert<double>(view, out, [](double v) { return static_cast<float>(v); });
      break;
    case Dtype::kF16: {
      const size_t done = HasConvertHalves() ? ConvertHalves(view.bytes.data(), out) : 0;
      TensorView rest = view;
      rest.bytes.remove_prefix(2 * done);
      Convert<uint16_t>(rest, out.subspan(done), HalfToFloat);
      break;
    }
    case Dtype::kBf16:
      Convert<uint16_t>(view, out, Bfloat16ToFloat);
      break;
    default:
      return absl::InvalidArgumentError(
          absl::StrCat(std::string(DtypeName(view.dtype)), " is no floating-point weight"));
  }
  return absl::OkStatus();
}

absl::StatusOr<TensorMap> ParseSafetensors(std::string_view bytes, const std::string& file) {
  uint64_t header_bytes = 0;
  if (bytes.size() < sizeof(header_bytes)) {
    return Damaged(file, absl::StrCat("only ", bytes.size(), " bytes long, no safetensors file"));
  }
  for (int i = 7; i >= 0; --i) header_bytes = header_bytes << 8 | static_cast<uint8_t>(bytes[i]);
  if (header_bytes > kMaxHeaderBytes) {
    return Damaged(file, absl::StrCat("a header of ", header_bytes, " bytes; the format allows ",
                                      kMaxHeaderBytes));
  }
  if (header_bytes > bytes.size() - sizeof(header_bytes)) {
    return Damaged(
        file, absl::StrCat("a header of ", header_bytes, " bytes in a file of ", bytes.size()));
  }
  const std::string_view header = bytes.substr(sizeof(header_bytes), header_bytes);
  const std::string_view data = bytes.substr(sizeof(header_bytes) + header_bytes);

  auto entries = ReadSafetensorsHeader(header);
  if (!entries.ok()) return Damaged(file, std::string(entries.status().message()));
  const std::string wrong = CheckLayout(*entries, data.size());
  if (!wrong.empty()) return Damaged(file, wrong);

  TensorMap tensors;
  for (SafetensorsEntry& e : *entries) {
    const auto [from, to] = e.offsets;
    TensorView view{e.dtype, std::move(e.shape), data.substr(from, to - from)};
    const auto [at, inserted] = tensors.emplace(std::move(e.name), std::move(view));
    if (!inserted)
      return Damaged(file, absl::StrCat("tensor ", Quoted(at->first), " stands twice"));
  }
  return tensors;
}

}  // namespace tiltshift::engine
