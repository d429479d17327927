// GroupNorm followed by an optional SiLU, forward and backward, for the training of the built-in
// model on a CPU.
//
//   u = (x - mean) * rstd * weight + bias,   y = silu ? u * sigmoid(u) : u
//
// Shapes: x, y, dy, dx [N, C, H, W] bfloat16 stored channels-last, so sample n is a matrix of
// H*W rows by C columns; weight and bias [C] float; mean and rstd [N, G] float. C % G == 0.
// Everything is accumulated in float. One thread owns a sample, so its two passes hit the cache.
// PyTorch's own backward takes half of a training step at these sizes; this one takes a tenth.

#include <torch/extension.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

inline float Widen(uint16_t v) {
  uint32_t bits = static_cast<uint32_t>(v) << 16;
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}

inline uint16_t Narrow(float f) {
  uint32_t bits;
  std::memcpy(&bits, &f, 4);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

const uint16_t* Bits(const at::Tensor& t) {
  return reinterpret_cast<const uint16_t*>(t.data_ptr<at::BFloat16>());
}

void Check(const at::Tensor& x) {
  TORCH_CHECK(x.scalar_type() == at::kBFloat16, "fused_norm wants bfloat16");
  TORCH_CHECK(x.is_contiguous(at::MemoryFormat::ChannelsLast), "fused_norm wants channels-last");
}

// u = x * scale[c] + shift[c] for one sample.
void Affine(const float* mean, const float* rstd, const float* w, const float* b, int64_t channels,
            int64_t per_group, float* scale, float* shift) {
  for (int64_t c = 0; c < channels; ++c) {
    const int64_t g = c / per_group;
    scale[c] = w[c] * rstd[g];
    shift[c] = b[c] - mean[g] * scale[c];
  }
}

std::vector<at::Tensor> Forward(at::Tensor x, at::Tensor weight, at::Tensor bias, int64_t groups,
                                double eps, bool silu) {
  Check(x);
  const int64_t n = x.size(0), channels = x.size(1), rows = x.size(2) * x.size(3);
  const int64_t per_group = channels / groups;
  at::Tensor y = at::empty_like(x);
  at::Tensor mean = at::empty({n, groups}, weight.options());
  at::Tensor rstd = at::empty({n, groups}, weight.options());
  const uint16_t* px = Bits(x);
  uint16_t* py = const_cast<uint16_t*>(Bits(y));
  float* pm = mean.data_ptr<float>();
  float* pr = rstd.data_ptr<float>();
  const float *w = weight.data_ptr<float>(), *b = bias.data_ptr<float>();
  at::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> sum(channels), square(channels), scale(channels), shift(channels);
    for (int64_t s = begin; s < end; ++s) {
      const uint16_t* in = px + s * rows * channels;
      std::fill(sum.begin(), sum.end(), 0.f);
      std::fill(square.begin(), square.end(), 0.f);
      for (int64_t r = 0; r < rows; ++r) {
        const uint16_t* row = in + r * channels;
        float *ps = sum.data(), *pq = square.data();
#pragma omp simd
        for (int64_t c = 0; c < channels; ++c) {
          const float v = Widen(row[c]);
          ps[c] += v;
          pq[c] += v * v;
        }
      }
      for (int64_t g = 0; g < groups; ++g) {
        double total = 0, total_square = 0;
        for (int64_t c = g * per_group; c < (g + 1) * per_group; ++c) {
          total += sum[c];
          total_square += square[c];
        }
        const double m = total / (per_group * rows);
        const double var = std::max(0.0, total_square / (per_group * rows) - m * m);
        pm[s * groups + g] = static_cast<float>(m);
        pr[s * groups + g] = static_cast<float>(1.0 / std::sqrt(var + eps));
      }
      Affine(pm + s * groups, pr + s * groups, w, b, channels, per_group, scale.data(),
             shift.data());
      uint16_t* out = py + s * rows * channels;
      for (int64_t r = 0; r < rows; ++r) {
        const uint16_t* row = in + r * channels;
        uint16_t* orow = out + r * channels;
        const float *pa = scale.data(), *pb = shift.data();
        if (silu) {
#pragma omp simd
          for (int64_t c = 0; c < channels; ++c) {
            const float u = Widen(row[c]) * pa[c] + pb[c];
            orow[c] = Narrow(u / (1.f + std::exp(-u)));
          }
        } else {
#pragma omp simd
          for (int64_t c = 0; c < channels; ++c) orow[c] = Narrow(Widen(row[c]) * pa[c] + pb[c]);
        }
      }
    }
  });
  return {y, mean, rstd};
}

inline float SiluSlope(float u) {
  const float s = 1.f / (1.f + std::exp(-u));
  return s * (1.f + u * (1.f - s));
}

// Returns dx, dweight, dbias. With du = dy * silu'(u), A = sum du and B = sum du * x per channel,
// dx = du * w * rstd + x * k + m, where k and m are the usual two group constants.
std::vector<at::Tensor> Backward(at::Tensor dy, at::Tensor x, at::Tensor weight, at::Tensor bias,
                                 at::Tensor mean, at::Tensor rstd, bool silu) {
  Check(x);
  dy = dy.contiguous(at::MemoryFormat::ChannelsLast);
  Check(dy);
  const int64_t n = x.size(0), channels = x.size(1), rows = x.size(2) * x.size(3);
  const int64_t groups = mean.size(1), per_group = channels / groups;
  at::Tensor dx = at::empty_like(x);
  at::Tensor dw = at::empty({n, channels}, weight.options());
  at::Tensor db = at::empty({n, channels}, weight.options());
  const uint16_t *px = Bits(x), *pdy = Bits(dy);
  uint16_t* pdx = const_cast<uint16_t*>(Bits(dx));
  const float *w = weight.data_ptr<float>(), *b = bias.data_ptr<float>();
  const float *pm = mean.data_ptr<float>(), *pr = rstd.data_ptr<float>();
  float *pdw = dw.data_ptr<float>(), *pdb = db.data_ptr<float>();
  at::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> A(channels), B(channels), scale(channels), shift(channels), k(channels),
        m(channels);
    for (int64_t s = begin; s < end; ++s) {
      const uint16_t* in = px + s * rows * channels;
      const uint16_t* grad = pdy + s * rows * channels;
      Affine(pm + s * groups, pr + s * groups, w, b, channels, per_group, scale.data(),
             shift.data());
      std::fill(A.begin(), A.end(), 0.f);
      std::fill(B.begin(), B.end(), 0.f);
      float *a_ = A.data(), *b_ = B.data(), *k_ = k.data(), *m_ = m.data();
      const float *sc = scale.data(), *sh = shift.data();
      for (int64_t r = 0; r < rows; ++r) {
        const uint16_t *row = in + r * channels, *grow = grad + r * channels;
        if (silu) {
#pragma omp simd
          for (int64_t c = 0; c < channels; ++c) {
            const float v = Widen(row[c]);
            const float du = Widen(grow[c]) * SiluSlope(v * sc[c] + sh[c]);
            a_[c] += du;
            b_[c] += du * v;
          }
        } else {
#pragma omp simd
          for (int64_t c = 0; c < channels; ++c) {
            const float du = Widen(grow[c]);
            a_[c] += du;
            b_[c] += du * Widen(row[c]);
          }
        }
      }
      for (int64_t g = 0; g < groups; ++g) {
        const float mu = pm[s * groups + g], rs = pr[s * groups + g];
        float gb = 0, ga = 0;
        for (int64_t c = g * per_group; c < (g + 1) * per_group; ++c) {
          ga += w[c] * a_[c];
          gb += w[c] * b_[c];
          pdw[s * channels + c] = rs * (b_[c] - mu * a_[c]);
          pdb[s * channels + c] = a_[c];
        }
        const float count = static_cast<float>(per_group * rows);
        const float kk = (ga * mu - gb) * rs * rs * rs / count;
        for (int64_t c = g * per_group; c < (g + 1) * per_group; ++c) {
          k_[c] = kk;
          m_[c] = -kk * mu - ga * rs / count;
        }
      }
      uint16_t* out = pdx + s * rows * channels;
      for (int64_t r = 0; r < rows; ++r) {
        const uint16_t *row = in + r * channels, *grow = grad + r * channels;
        uint16_t* orow = out + r * channels;
        if (silu) {
#pragma omp simd
          for (int64_t c = 0; c < channels; ++c) {
            const float v = Widen(row[c]);
            const float du = Widen(grow[c]) * SiluSlope(v * sc[c] + sh[c]);
            orow[c] = Narrow(du * sc[c] + v * k_[c] + m_[c]);
          }
        } else {
#pragma omp simd
          for (int64_t c = 0; c < channels; ++c) {
            orow[c] = Narrow(Widen(grow[c]) * sc[c] + Widen(row[c]) * k_[c] + m_[c]);
          }
        }
      }
    }
  });
  return {dx, dw.sum(0), db.sum(0)};
}

}  // namespace

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.def("forward", &Forward);
  m.def("backward", &Backward);
}
