#include "engine/cuda/card_weights.h"

#include <algorithm>

#include "engine/cuda/card_layout.h"
#include "kernels/numbers.h"

namespace tiltshift::engine::cuda {
namespace {

constexpr size_t kSlab = size_t{32} << 20;
constexpr size_t kPieceAlignment = 256;

// Where row n of `count` goes.
int64_t PlaceOfRow(RowOrder order, int64_t n, int64_t count) {
  if (order == RowOrder::kPlain) return n;
  return n < count / 2 ? 2 * n : 2 * (n - count / 2) + 1;
}

uint16_t BitsOf(Half half, float value) {
  return half == Half::kBf16 ? kernels::FromFloat<kernels::Bf16>(value).bits
                             : kernels::FromFloat<kernels::Fp16>(value).bits;
}

}  // namespace

absl::StatusOr<char*> CardWeights::Upload(const void* from, size_t bytes) {
  const size_t whole = (bytes + kPieceAlignment - 1) / kPieceAlignment * kPieceAlignment;
  if (whole > left_) {
    const size_t size = std::max(whole, kSlab);
    TS_ASSIGN_OR_RETURN(DeviceBytes slab, DeviceBytes::New(size));
    next_ = slab.get();
    left_ = size;
    slabs_.push_back(std::move(slab));
  }
  char* to = next_;
  TS_RETURN_IF_ERROR(
      ToStatus(cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice), "uploading weights"));
  // Programs' streams do not wait for this one.
  TS_RETURN_IF_ERROR(ToStatus(cudaStreamSynchronize(nullptr), "uploading weights"));
  next_ += whole;
  left_ -= whole;
  return to;
}

absl::StatusOr<const void*> CardWeights::Rows(const Parameter& parameter, RowOrder order) {
  std::lock_guard lock(mutex_);
  if (const auto known = rows_.find({&parameter, order}); known != rows_.end())
    return known->second;
  const int64_t out = parameter.shape[0], in = parameter.shape[1];
  const int64_t places = parameter.elements() / out / in;
  const int64_t padded_in = PaddedChannels(static_cast<int>(in));
  const int64_t row = places * padded_in;
  std::vector<uint16_t> bits(PaddedChannels(static_cast<int>(out)) * row);
  std::vector<float> floats(in * places);
  for (int64_t n = 0; n < out; ++n) {
    parameter.CopyRows(n, floats);
    uint16_t* to = &bits[PlaceOfRow(order, n, out) * row];
    for (int64_t c = 0; c < in; ++c) {
      for (int64_t place = 0; place < places; ++place) {
        to[place * padded_in + c] = BitsOf(half_, floats[c * places + place]);
      }
    }
  }
  parameter.Release();
  TS_ASSIGN_OR_RETURN(const char* uploaded, Upload(bits.data(), bits.size() * sizeof(uint16_t)));
  return rows_[{&parameter, order}] = uploaded;
}

absl::StatusOr<const float*> CardWeights::Floats(const Parameter& parameter, RowOrder order) {
  std::lock_guard lock(mutex_);
  if (const auto known = floats_.find({&parameter, order}); known != floats_.end())
    return known->second;
  const int64_t count = parameter.elements();
  std::vector<float> plain(count), ordered(PaddedChannels(static_cast<int>(count)));
  parameter.CopyTo(plain);
  for (int64_t n = 0; n < count; ++n) ordered[PlaceOfRow(order, n, count)] = plain[n];
  TS_ASSIGN_OR_RETURN(const char* uploaded, Upload(ordered.data(), ordered.size() * sizeof(float)));
  return floats_[{&parameter, order}] = reinterpret_cast<const float*>(uploaded);
}

}  // namespace tiltshift::engine::cuda
