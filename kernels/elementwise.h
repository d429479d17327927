// What lies between the products: element-wise functions, conversions of type and layout, lookups,
// and the way out to bytes. All are bound by memory.
//
// A tensor is rows of channels, a stride in numbers apart; planar is [batch, channels, positions]
// in fp32, as latents are kept. Where channels and strides are multiples of 8 and addresses of 16
// bytes, numbers move eight at a time, else one by one: no shape is refused for its tails.
#pragma once

#include <cstdint>

#include "kernels/numbers.h"
#include "kernels/runtime.h"

namespace tiltshift::kernels {

// kSoftClamp: 3 tanh(x / 3).
enum class Mapping : uint8_t { kNone, kSilu, kGelu, kQuickGelu, kRelu, kSoftClamp };

// y = f(x). With kNone it casts, and copies channels: a concatenation is two of them.
template <class X, class Y>  // each of Bf16, Fp16 or float, but not Bf16 with Fp16
struct MapArguments {
  int64_t rows = 0;
  int channels = 0;
  const X* x = nullptr;
  int64_t x_stride = 0;
  Y* y = nullptr;
  int64_t y_stride = 0;
  Mapping mapping = Mapping::kNone;
};
template <class X, class Y>
cudaError_t Map(cudaStream_t stream, const MapArguments<X, Y>& arguments);

// y = first half of x's channels * gelu(second half): Shazeer 2020.
template <class T>
struct GegluArguments {
  int64_t rows = 0;
  int channels = 0;  // of y; x has twice as many
  const T* x = nullptr;
  int64_t x_stride = 0;
  T* y = nullptr;
  int64_t y_stride = 0;
};
template <class T>
cudaError_t Geglu(cudaStream_t stream, const GegluArguments<T>& arguments);

// y = x factor + summand from planar to rows, in which channels up to y_channels follow as zeros.
template <class T>  // Bf16, Fp16 or float
struct FromPlanarArguments {
  int batch = 1, channels = 0, positions = 0;
  const float* x = nullptr;
  float factor = 1, summand = 0;
  T* y = nullptr;
  int64_t y_stride = 0;
  int y_channels = 0;
};
template <class T>
cudaError_t FromPlanar(cudaStream_t stream, const FromPlanarArguments<T>& arguments);

// The way back.
template <class T>
struct ToPlanarArguments {
  int batch = 1, channels = 0, positions = 0;
  const T* x = nullptr;
  int64_t x_stride = 0;
  float* y = nullptr;
};
template <class T>
cudaError_t ToPlanar(cudaStream_t stream, const ToPlanarArguments<T>& arguments);

// y[row] = tokens[ids[row]] + places[row % length]: a text encoder's input. An id is below the
// table's rows; the host sees to that.
template <class T>  // Bf16 or Fp16
struct EmbedArguments {
  int rows = 0, length = 1, channels = 0;
  const int32_t* ids = nullptr;
  const T* tokens = nullptr;  // [vocabulary, channels]
  const T* places = nullptr;  // [length, channels]
  T* y = nullptr;             // [rows, channels]
};
template <class T>
cudaError_t Embed(cudaStream_t stream, const EmbedArguments<T>& arguments);

// RGB bytes of a picture in about -1..1: to nearest, ties to even, as the engine's on the host.
template <class T>  // Bf16, Fp16 or float
struct PictureArguments {
  int64_t positions = 0;
  const T* x = nullptr;  // rows whose first three channels count
  int64_t x_stride = 0;
  float factor = 1, summand = 0;  // that bring x to -1..1
  uint8_t* y = nullptr;           // [positions, 3]
};
template <class T>
cudaError_t PictureToBytes(cudaStream_t stream, const PictureArguments<T>& arguments);

// A small picture of a latent without the autoencoder: each colour is a sum over channels.
struct PreviewArguments {
  static constexpr int kMostChannels = 16;

  int batch = 1, channels = 0, positions = 0;
  const float* latent = nullptr;  // planar
  float factors[3][kMostChannels] = {};
  float summands[3] = {};  // the sum is in about -1..1
  uint8_t* y = nullptr;    // [batch, positions, 3]
};
cudaError_t Preview(cudaStream_t stream, const PreviewArguments& arguments);

}  // namespace tiltshift::kernels
