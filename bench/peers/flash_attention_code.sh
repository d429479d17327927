#!/usr/bin/env bash
# FlashAttention-2's forward kernels compiled by the nvcc that is here, for main_loops.py:
#   bench/peers/flash_attention_code.sh FLASH_ATTENTION CUTLASS OUT [ARCHITECTURE [HEAD_DIM ...]]
# FLASH_ATTENTION and CUTLASS: their sources (github.com/Dao-AILab/flash-attention, github.com/NVIDIA/cutlass). Into OUT go
# OUT/HEAD_DIM.ARCHITECTURE.cubin and the compiler's words beside them. bf16, not causal, without dropout, ALiBi, softcap and
# local windows. PyTorch is not needed: what they include of it is replaced by a few lines.
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,6s/^# //p' "$0" >&2; exit 2; }
flash=$1 cutlass=$2 out=$3 architecture=${4:-sm_90}
shift $(($# < 4 ? $# : 4))
[ $# -gt 0 ] || set -- 64 96 192
nvcc=${NVCC:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}

mkdir -p "$out/stub/c10/cuda" "$out/stub/ATen/cuda/detail"
cat >"$out/stub/c10/cuda/CUDAException.h" <<'EOF'
#pragma once
#define C10_CUDA_CHECK(call) (void)(call)
#define C10_CUDA_KERNEL_LAUNCH_CHECK() (void)0
EOF
cat >"$out/stub/ATen/cuda/PhiloxCudaState.h" <<'EOF'
#pragma once
#include <cstdint>
namespace at {
struct PhiloxCudaState { uint64_t seed, offset; };
}
EOF
cat >"$out/stub/ATen/cuda/detail/UnpackRaw.cuh" <<'EOF'
#pragma once
#include <ATen/cuda/PhiloxCudaState.h>
#include <tuple>
namespace at::cuda::philox {
__device__ inline std::tuple<uint64_t, uint64_t> unpack(PhiloxCudaState s) { return {s.seed, s.offset}; }
}
EOF

sources=$flash/csrc/flash_attn/src
for head_dim in "$@"; do
  "$nvcc" -std=c++17 -O3 -I"$out/stub" -I"$cutlass/include" -I"$sources" --expt-relaxed-constexpr --expt-extended-lambda \
    --use_fast_math -DFLASHATTENTION_DISABLE_DROPOUT -DFLASHATTENTION_DISABLE_ALIBI -DFLASHATTENTION_DISABLE_SOFTCAP \
    -DFLASHATTENTION_DISABLE_LOCAL -DFLASHATTENTION_DISABLE_UNEVEN_K -arch="$architecture" -Xptxas=-v -cubin \
    -o "$out/$head_dim.$architecture.cubin" "$sources/flash_fwd_hdim${head_dim}_bf16_sm80.cu" \
    >"$out/$head_dim.$architecture.log" 2>&1 || { tail -n 20 "$out/$head_dim.$architecture.log" >&2; exit 1; }
  echo "$out/$head_dim.$architecture.cubin"
done
