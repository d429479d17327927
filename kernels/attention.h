// Attention with an online softmax: no matrix of scores is ever written to memory.
//
//   y[b, i, h] = sum over j of softmax_j(scale q[b, i, h] . k[b, j, h]) v[b, j, h]
//
// q, k, v and y are rows of tensors, one a query or a key; head h has channels [h head_dim, (h + 1)
// head_dim) of them. Strides in numbers let them be channels of wider tensors: the q, k and v of
// one projection, or one layer's part of all layers' keys. A sample's rows follow the sample's
// before, but keys may lie anywhere (key_offsets), so that samples share a prompt's or bring their
// own.
//
// The softmax of a row goes over keys upwards in blocks whose size depends on head_dim and on
// whether the keys fit in one: the bits depend on neither the batch, the heads nor the number of
// queries (I4). Sums are fp32; the weights are rounded to T before they meet v, as the tensor cores
// need it.
#pragma once

#include <cstdint>

#include "kernels/numbers.h"
#include "kernels/runtime.h"

namespace tiltshift::kernels {

inline constexpr int kHeadDims[] = {24, 32, 40, 64, 80, 128, 160, 512};  // 512: not causal

struct AttentionShape {
  int batch = 1;
  int heads = 1;
  int head_dim = 0;  // of kHeadDims
  int queries = 0;
  int keys = 0;
  bool causal = false;  // query i sees keys 0..i
};

template <class T>  // Bf16 or Fp16
struct AttentionArguments {
  AttentionShape shape;
  // All aligned to 16 bytes, all strides multiples of 8.
  const T* q = nullptr;
  int64_t q_stride = 0;
  const T* k = nullptr;
  int64_t k_stride = 0;
  const T* v = nullptr;
  int64_t v_stride = 0;
  T* y = nullptr;
  int64_t y_stride = 0;
  // [batch], on the card: numbers from k (and from v) to a sample's first key, multiples of 8.
  // Null: sample b begins at row b keys.
  const int64_t* key_offsets = nullptr;
  float scale = 1;  // above 0; usually 1 / sqrt(head_dim)
};

// Puts the attention into the stream. InvalidValue: a shape, stride or address outside the limits.
template <class T>
cudaError_t Attention(cudaStream_t stream, const AttentionArguments<T>& arguments);

}  // namespace tiltshift::kernels
