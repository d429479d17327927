// The layers of SD 1.5, SD 2.1, SDXL and the built-in model, worked out from what their
// configurations say: every width and depth whole, of a picture's positions a few.
//
// Into how many shares a sum is cut, and whether a norm is a convolution's prologue, is as for the
// layer's own number of positions (of two numbers of shares the first that comes is taken).
#pragma once

#include <vector>

#include "kernels/testing/attention_case.h"
#include "kernels/testing/conv_case.h"
#include "kernels/testing/gemm_case.h"
#include "kernels/testing/norm_case.h"

namespace tiltshift::kernels::testing {

// Each once, under the name of the first model that has it.
struct ModelLayers {
  std::vector<GemmCase> gemms;
  std::vector<ConvCase> convs;
  std::vector<AttentionCase> attentions;
  std::vector<NormCase> norms;
};

const ModelLayers& AllModelLayers();

}  // namespace tiltshift::kernels::testing
