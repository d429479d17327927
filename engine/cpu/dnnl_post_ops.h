// A layer's nonlinearity as oneDNN's post-op.
#pragma once

#include <dnnl.hpp>

#include "base/check.h"
#include "engine/cpu/dnnl_version.h"
#include "engine/graph.h"

namespace tiltshift::engine::cpu {

inline void AppendNonlinearity(Nonlinearity nonlinearity, dnnl::post_ops* post_ops) {
  using dnnl::algorithm;
  switch (nonlinearity) {
    case Nonlinearity::kNone:
      break;
    case Nonlinearity::kSilu:
      AppendEltwise(algorithm::eltwise_swish, 1, 0, post_ops);
      break;
    case Nonlinearity::kGelu:
      AppendEltwise(algorithm::eltwise_gelu_erf, 0, 0, post_ops);
      break;
    case Nonlinearity::kQuickGelu:
      AppendEltwise(algorithm::eltwise_swish, 1.702f, 0, post_ops);
      break;
    case Nonlinearity::kRelu:
      AppendEltwise(algorithm::eltwise_relu, 0, 0, post_ops);
      break;
    case Nonlinearity::kSoftClamp:
      TS_CHECK(false);
      break;  // no layer of any model has it
  }
}

}  // namespace tiltshift::engine::cpu
