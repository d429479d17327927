// See elementwise.h. A thread takes eight channels of a row, or a position of a planar tensor; 256
// threads, no shared memory. Bytes: each number read once and written once. Time: unmeasured.
#include <type_traits>

#include "kernels/elementwise.h"
#include "kernels/launch.h"
#include "kernels/vector.cuh"

namespace tiltshift::kernels {
namespace {

constexpr int kThreads = 256;

unsigned BlocksFor(int64_t threads) {
  return static_cast<unsigned>((threads + kThreads - 1) / kThreads);
}

template <class T>
bool MovesByEight(const T* at, int64_t stride, int channels) {
  return reinterpret_cast<uintptr_t>(at) % kChunkBytes == 0 && stride % kChunk == 0 &&
         channels % kChunk == 0;
}

// Eight numbers, of which the first `count` exist.
template <class T, bool kWhole>
__device__ __forceinline__ void LoadEight(GlobalPtr<const T> from, int count,
                                          float (&value)[kChunk]) {
  if constexpr (!kWhole) {
#pragma unroll
    for (int i = 0; i < kChunk; ++i) value[i] = i < count ? ToFloat(Load(from + i)) : 0.0f;
  } else if constexpr (std::is_same_v<T, float>) {
    LoadFloats(from, value);
  } else {
    Unpack<T>(Load<Words4>(from), value);
  }
}
template <class T, bool kWhole>
__device__ __forceinline__ void StoreEight(GlobalPtr<T> to, int count,
                                           const float (&value)[kChunk]) {
  if constexpr (!kWhole) {
#pragma unroll
    for (int i = 0; i < kChunk; ++i) {
      if (i < count) Store(to + i, FromFloat<T>(value[i]));
    }
  } else if constexpr (std::is_same_v<T, float>) {
    Store(to, Floats4{{value[0], value[1], value[2], value[3]}});
    Store(to + 4, Floats4{{value[4], value[5], value[6], value[7]}});
  } else {
    Store(to, Pack<T>(value));
  }
}

__device__ __forceinline__ float Mapped(Mapping mapping, float x) {
  switch (mapping) {
    case Mapping::kSilu:
      return Silu(x);
    case Mapping::kGelu:
      return Gelu(x);
    case Mapping::kQuickGelu:
      return QuickGelu(x);
    case Mapping::kRelu:
      return Relu(x);
    case Mapping::kSoftClamp:
      return SoftClamp(x);
    default:
      return x;
  }
}

// Which eight channels of which row are this thread's.
struct Place {
  int64_t row;
  int channel;
};
__device__ __forceinline__ Place PlaceOf(int channels) {
  const int64_t index = int64_t{BlockIndex().x} * kThreads + ThreadIndex().x;
  const int eights = (channels + kChunk - 1) / kChunk;
  return {index / eights, static_cast<int>(index % eights) * kChunk};
}

template <class X, class Y, bool kWhole>
__global__ void __launch_bounds__(kThreads) MapKernel(MapArguments<X, Y> p) {
  const Place at = PlaceOf(p.channels);
  if (at.row >= p.rows) return;
  float value[kChunk];
  LoadEight<X, kWhole>(GlobalPtr(p.x) + (at.row * p.x_stride + at.channel), p.channels - at.channel,
                       value);
#pragma unroll
  for (float& v : value) v = Mapped(p.mapping, v);
  StoreEight<Y, kWhole>(GlobalPtr(p.y) + (at.row * p.y_stride + at.channel),
                        p.channels - at.channel, value);
}

template <class T, bool kWhole>
__global__ void __launch_bounds__(kThreads) GegluKernel(GegluArguments<T> p) {
  const Place at = PlaceOf(p.channels);
  if (at.row >= p.rows) return;
  const GlobalPtr<const T> x = GlobalPtr(p.x) + (at.row * p.x_stride + at.channel);
  float value[kChunk], gate[kChunk];
  LoadEight<T, kWhole>(x, p.channels - at.channel, value);
  LoadEight<T, kWhole>(x + p.channels, p.channels - at.channel, gate);
#pragma unroll
  for (int i = 0; i < kChunk; ++i) value[i] *= Gelu(gate[i]);
  StoreEight<T, kWhole>(GlobalPtr(p.y) + (at.row * p.y_stride + at.channel),
                        p.channels - at.channel, value);
}

template <class T, bool kWhole>
__global__ void __launch_bounds__(kThreads) EmbedKernel(EmbedArguments<T> p) {
  const Place at = PlaceOf(p.channels);
  if (at.row >= p.rows) return;
  const int left = p.channels - at.channel;
  const int64_t id = Load(GlobalPtr(p.ids) + at.row);
  float value[kChunk], place[kChunk];
  LoadEight<T, kWhole>(GlobalPtr(p.tokens) + (id * p.channels + at.channel), left, value);
  LoadEight<T, kWhole>(GlobalPtr(p.places) + (at.row % p.length * p.channels + at.channel), left,
                       place);
#pragma unroll
  for (int i = 0; i < kChunk; ++i) value[i] += place[i];
  StoreEight<T, kWhole>(GlobalPtr(p.y) + (at.row * p.channels + at.channel), left, value);
}

template <class T>
__global__ void __launch_bounds__(kThreads) FromPlanarKernel(FromPlanarArguments<T> p) {
  const int position = BlockIndex().x * kThreads + ThreadIndex().x;
  if (position >= p.positions) return;
  const int64_t sample = BlockIndex().y;
  const GlobalPtr<const float> x = GlobalPtr(p.x) + (sample * p.channels * p.positions + position);
  const GlobalPtr<T> y = GlobalPtr(p.y) + (sample * p.positions + position) * p.y_stride;
  for (int channel = 0; channel < p.y_channels; ++channel) {
    const float value = channel < p.channels
                            ? Load(x + int64_t{channel} * p.positions) * p.factor + p.summand
                            : 0.0f;
    Store(y + channel, FromFloat<T>(value));
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads) ToPlanarKernel(ToPlanarArguments<T> p) {
  const int position = BlockIndex().x * kThreads + ThreadIndex().x;
  if (position >= p.positions) return;
  const int64_t sample = BlockIndex().y;
  const GlobalPtr<const T> x = GlobalPtr(p.x) + (sample * p.positions + position) * p.x_stride;
  const GlobalPtr<float> y = GlobalPtr(p.y) + (sample * p.channels * p.positions + position);
  for (int channel = 0; channel < p.channels; ++channel) {
    Store(y + int64_t{channel} * p.positions, ToFloat(Load(x + channel)));
  }
}

__device__ __forceinline__ uint8_t ToByte(float value) {
  const float unit = fminf(fmaxf(value * 0.5f + 0.5f, 0.0f), 1.0f);
  return static_cast<uint8_t>(nearbyintf(unit * 255.0f));
}

template <class T>
__global__ void __launch_bounds__(kThreads) PictureKernel(PictureArguments<T> p) {
  const int64_t index = int64_t{BlockIndex().x} * kThreads + ThreadIndex().x;
  const int64_t position = index / 3, channel = index % 3;
  if (position >= p.positions) return;
  const float x = ToFloat(Load(GlobalPtr(p.x) + (position * p.x_stride + channel)));
  Store(GlobalPtr(p.y) + index, ToByte(x * p.factor + p.summand));
}

__global__ void __launch_bounds__(kThreads) PreviewKernel(PreviewArguments p) {
  const int position = BlockIndex().x * kThreads + ThreadIndex().x;
  if (position >= p.positions) return;
  const int64_t sample = BlockIndex().y;
  const GlobalPtr<const float> x =
      GlobalPtr(p.latent) + (sample * p.channels * p.positions + position);
  float colour[3] = {p.summands[0], p.summands[1], p.summands[2]};
#pragma unroll
  for (int channel = 0; channel < PreviewArguments::kMostChannels; ++channel) {
    if (channel >= p.channels) break;
    const float value = Load(x + int64_t{channel} * p.positions);
#pragma unroll
    for (int c = 0; c < 3; ++c) colour[c] += p.factors[c][channel] * value;
  }
  const GlobalPtr<uint8_t> y = GlobalPtr(p.y) + 3 * (sample * p.positions + position);
#pragma unroll
  for (int c = 0; c < 3; ++c) Store(y + c, ToByte(colour[c]));
}

// rows x channels, eight channels a thread.
template <auto kWholeKernel, auto kPartKernel, class Arguments>
cudaError_t LaunchRows(cudaStream_t stream, int64_t rows, bool whole, const Arguments& p) {
  if (rows <= 0 || p.channels <= 0) return cudaErrorInvalidValue;
  const int64_t eights = (p.channels + kChunk - 1) / kChunk;
  const LaunchShape shape = {.grid = {BlocksFor(rows * eights)}, .block = {kThreads}};
  return whole ? Launch<kWholeKernel>(stream, shape, p) : Launch<kPartKernel>(stream, shape, p);
}

template <auto kKernel, class Arguments>
cudaError_t LaunchPlanes(cudaStream_t stream, const Arguments& p) {
  constexpr int kMostGrid = 65535;
  if (p.batch <= 0 || p.batch > kMostGrid || p.channels <= 0 || p.positions <= 0) {
    return cudaErrorInvalidValue;
  }
  const LaunchShape shape = {.grid = {BlocksFor(p.positions), static_cast<unsigned>(p.batch)},
                             .block = {kThreads}};
  return Launch<kKernel>(stream, shape, p);
}

}  // namespace

template <class X, class Y>
cudaError_t Map(cudaStream_t stream, const MapArguments<X, Y>& p) {
  const bool whole =
      MovesByEight(p.x, p.x_stride, p.channels) && MovesByEight(p.y, p.y_stride, p.channels);
  return LaunchRows<&MapKernel<X, Y, true>, &MapKernel<X, Y, false>>(stream, p.rows, whole, p);
}

template <class T>
cudaError_t Geglu(cudaStream_t stream, const GegluArguments<T>& p) {
  const bool whole =
      MovesByEight(p.x, p.x_stride, p.channels) && MovesByEight(p.y, p.y_stride, p.channels);
  return LaunchRows<&GegluKernel<T, true>, &GegluKernel<T, false>>(stream, p.rows, whole, p);
}

template <class T>
cudaError_t Embed(cudaStream_t stream, const EmbedArguments<T>& p) {
  if (p.length <= 0) return cudaErrorInvalidValue;
  const bool whole = MovesByEight(p.tokens, 0, p.channels) &&
                     MovesByEight(p.places, 0, p.channels) && MovesByEight(p.y, 0, p.channels);
  return LaunchRows<&EmbedKernel<T, true>, &EmbedKernel<T, false>>(stream, p.rows, whole, p);
}

template <class T>
cudaError_t FromPlanar(cudaStream_t stream, const FromPlanarArguments<T>& p) {
  if (p.y_channels < p.channels) return cudaErrorInvalidValue;
  return LaunchPlanes<&FromPlanarKernel<T>>(stream, p);
}

template <class T>
cudaError_t ToPlanar(cudaStream_t stream, const ToPlanarArguments<T>& p) {
  return LaunchPlanes<&ToPlanarKernel<T>>(stream, p);
}

template <class T>
cudaError_t PictureToBytes(cudaStream_t stream, const PictureArguments<T>& p) {
  if (p.positions <= 0) return cudaErrorInvalidValue;
  const LaunchShape shape = {.grid = {BlocksFor(3 * p.positions)}, .block = {kThreads}};
  return Launch<&PictureKernel<T>>(stream, shape, p);
}

cudaError_t Preview(cudaStream_t stream, const PreviewArguments& p) {
  if (p.channels > PreviewArguments::kMostChannels) return cudaErrorInvalidValue;
  return LaunchPlanes<&PreviewKernel>(stream, p);
}

template cudaError_t Map(cudaStream_t, const MapArguments<Bf16, Bf16>&);
template cudaError_t Map(cudaStream_t, const MapArguments<Fp16, Fp16>&);
template cudaError_t Map(cudaStream_t, const MapArguments<float, float>&);
template cudaError_t Map(cudaStream_t, const MapArguments<Bf16, float>&);
template cudaError_t Map(cudaStream_t, const MapArguments<Fp16, float>&);
template cudaError_t Map(cudaStream_t, const MapArguments<float, Bf16>&);
template cudaError_t Map(cudaStream_t, const MapArguments<float, Fp16>&);
template cudaError_t Geglu(cudaStream_t, const GegluArguments<Bf16>&);
template cudaError_t Geglu(cudaStream_t, const GegluArguments<Fp16>&);
template cudaError_t Embed(cudaStream_t, const EmbedArguments<Bf16>&);
template cudaError_t Embed(cudaStream_t, const EmbedArguments<Fp16>&);
template cudaError_t FromPlanar(cudaStream_t, const FromPlanarArguments<Bf16>&);
template cudaError_t FromPlanar(cudaStream_t, const FromPlanarArguments<Fp16>&);
template cudaError_t FromPlanar(cudaStream_t, const FromPlanarArguments<float>&);
template cudaError_t ToPlanar(cudaStream_t, const ToPlanarArguments<Bf16>&);
template cudaError_t ToPlanar(cudaStream_t, const ToPlanarArguments<Fp16>&);
template cudaError_t ToPlanar(cudaStream_t, const ToPlanarArguments<float>&);
template cudaError_t PictureToBytes(cudaStream_t, const PictureArguments<Bf16>&);
template cudaError_t PictureToBytes(cudaStream_t, const PictureArguments<Fp16>&);
template cudaError_t PictureToBytes(cudaStream_t, const PictureArguments<float>&);

}  // namespace tiltshift::kernels
