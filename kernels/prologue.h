// What happens to a product's input on its way to the tensor cores, written once for all
// convolutions; prologue.cuh has the code.
#pragma once

namespace tiltshift::kernels {

// x becomes f(x factor + summand), in fp32, rounded once to x's type: GroupNorm, with SiLU, without
// the pass that writes the result. What lies outside the picture is zero behind it, too. The bits
// are those of GroupNorm (norm.h) with a y, then the product of that.
struct Prologue {
  // [batch, 2, channels] as GroupNorm makes it, aligned to 16 bytes; null: x stays as it is.
  const float* affine = nullptr;
  bool silu = false;
};

}  // namespace tiltshift::kernels
