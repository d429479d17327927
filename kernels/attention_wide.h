// Attention for the one head dim that no warp can hold rows of: the autoencoders' 512. Part of
// attention.h, which calls it.
#pragma once

#include "kernels/attention.h"

namespace tiltshift::kernels {

inline constexpr int kWideDim = 512;

// `arguments` are within attention.h's limits.
template <class T>
cudaError_t WideAttention(cudaStream_t stream, const AttentionArguments<T>& arguments);

}  // namespace tiltshift::kernels
