// The code of epilogue.h: eight neighbouring columns of a row at a time, from sums to y.
#pragma once

#include "kernels/device.h"
#include "kernels/epilogue.h"

namespace tiltshift::kernels {

// Where a block's results go.
struct Output {
  void* y;
  int64_t y_stride;  // in numbers
  int m, n;          // of the whole product; rows and columns beyond are dropped
};

// Eight columns of some rows. Sums that lie whole and aligned, all in one sample, go in
// 16-byte accesses, the residual of all rows asked for first; any others number by number, with the
// same bits.
template <class T>
class RowFinisher {
 public:
  static constexpr int kColumns = 8;

  // `column`: the first; it exists.
  __device__ __forceinline__ RowFinisher(const Epilogue& epilogue, const Output& output, int column)
      : e_(epilogue),
        out_(output),
        column_(column),
        whole_(column + kColumns <= output.n && output.n % 4 == 0 &&
               output.y_stride % kColumns == 0 && epilogue.residual_stride % kColumns == 0) {}

  // Rows row, row + step, .. kCount of them; those beyond the last are dropped. Calls ask for rows
  // upwards. take(i, value) fetches the sums of the i-th.
  template <int kCount, class Take>
  __device__ __forceinline__ void Finish(int row, int step, const Take& take) {
    if (row >= out_.m) return;
    if (row >= bias_end_) LoadBias(row);
    if (!whole_ || row + (kCount - 1) * step >= bias_end_) {
#pragma unroll 1
      for (int i = 0; i < kCount && row + i * step < out_.m; ++i) {
        float value[kColumns];
        take(i, value);
        FinishByNumbers(row + i * step, value);
      }
      return;
    }
    switch (e_.activation) {
      case Activation::kNone:
        return FinishWhole<Activation::kNone, kCount>(row, step, take);
      case Activation::kSilu:
        return FinishWhole<Activation::kSilu, kCount>(row, step, take);
      case Activation::kGelu:
        return FinishWhole<Activation::kGelu, kCount>(row, step, take);
      case Activation::kQuickGelu:
        return FinishWhole<Activation::kQuickGelu, kCount>(row, step, take);
      case Activation::kRelu:
        return FinishWhole<Activation::kRelu, kCount>(row, step, take);
      case Activation::kSoftClamp:
        return FinishWhole<Activation::kSoftClamp, kCount>(row, step, take);
      case Activation::kGeglu:
        return FinishWhole<Activation::kGeglu, kCount>(row, step, take);
    }
  }

 private:
  static constexpr int kNoEnd = 0x7fffffff;

  template <int kNumbers>
  struct alignas(2 * kNumbers) Pack {
    uint32_t word[kNumbers / 2];
  };

  __device__ __forceinline__ const float* SampleBias(int sample) const {
    const int64_t stride = e_.sample_bias_stride == 0 ? out_.n : e_.sample_bias_stride;
    return e_.sample_bias + sample * stride;
  }
  // The bias of a row's sample, and the row with which the next sample begins.
  __device__ __forceinline__ void LoadBias(int row) {
    const int sample = e_.sample_bias == nullptr ? 0 : row / e_.rows_per_sample;
    bias_end_ = e_.sample_bias == nullptr ? kNoEnd : (sample + 1) * e_.rows_per_sample;
    if (!whole_) return;
#pragma unroll
    for (float& b : bias_) b = 0;
    if (e_.bias != nullptr) AddFloats(e_.bias + column_);
    if (e_.sample_bias != nullptr) AddFloats(SampleBias(sample) + column_);
  }
  __device__ __forceinline__ void AddFloats(const float* from) {
#pragma unroll
    for (int half = 0; half < kColumns; half += 4) {
      const Floats4 floats = Load<Floats4>(GlobalPtr(from) + half);
#pragma unroll
      for (int i = 0; i < 4; ++i) bias_[half + i] += floats.value[i];
    }
  }

  // Columns behind kGeglu are half as many; the others stay.
  template <Activation kActivation, int kNumbers>
  static __device__ __forceinline__ void Activate(const float (&value)[kColumns],
                                                  float (&result)[kNumbers]) {
#pragma unroll
    for (int i = 0; i < kNumbers; ++i) {
      if constexpr (kActivation == Activation::kGeglu) {
        result[i] = value[2 * i] * Gelu(value[2 * i + 1]);
      } else {
        result[i] = ActivateOne<kActivation>(value[i]);
      }
    }
  }
  template <Activation kActivation>
  static __device__ __forceinline__ float ActivateOne(float x) {
    if constexpr (kActivation == Activation::kSilu) return Silu(x);
    if constexpr (kActivation == Activation::kGelu) return Gelu(x);
    if constexpr (kActivation == Activation::kQuickGelu) return QuickGelu(x);
    if constexpr (kActivation == Activation::kRelu) return Relu(x);
    if constexpr (kActivation == Activation::kSoftClamp) return SoftClamp(x);
    return x;
  }

  template <Activation kActivation, int kCount, class Take>
  __device__ __forceinline__ void FinishWhole(int row, int step, const Take& take) const {
    constexpr int kNumbers = kActivation == Activation::kGeglu ? kColumns / 2 : kColumns;
    const int column = column_ * kNumbers / kColumns;
    Pack<kNumbers> residual[kCount] = {};
    if (e_.residual != nullptr) {
      const GlobalPtr<const T> from = GlobalPtr(static_cast<const T*>(e_.residual)) + column;
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        if (row + i * step < out_.m) {
          residual[i] = Load<Pack<kNumbers>>(from + (row + i * step) * e_.residual_stride);
        }
      }
    }
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      if (row + i * step >= out_.m) break;
      float value[kColumns], result[kNumbers];
      take(i, value);
#pragma unroll
      for (int c = 0; c < kColumns; ++c) value[c] += bias_[c];
      if constexpr (kActivation != Activation::kGeglu) {
        if (e_.residual_first) AddPack(residual[i], value);
      }
      Activate<kActivation>(value, result);
      if (!e_.residual_first) AddPack(residual[i], result);
      Write(int64_t{row + i * step} * out_.y_stride + column, result);
    }
  }

  template <int kNumbers>
  static __device__ __forceinline__ void AddPack(const Pack<kNumbers>& pack,
                                                 float (&to)[kNumbers]) {
#pragma unroll
    for (int c = 0; c < kNumbers / 2; ++c) {
      to[2 * c] += LowOf<T>(pack.word[c]);
      to[2 * c + 1] += HighOf<T>(pack.word[c]);
    }
  }

  template <int kNumbers>
  __device__ __forceinline__ void Write(int64_t at, const float (&result)[kNumbers]) const {
    if (e_.float_output) {
      const GlobalPtr<float> to = GlobalPtr(static_cast<float*>(out_.y)) + at;
#pragma unroll
      for (int c = 0; c < kNumbers; c += 4) {
        Store(to + c, Floats4{{result[c], result[c + 1], result[c + 2], result[c + 3]}});
      }
      return;
    }
    Pack<kNumbers> pack;
#pragma unroll
    for (int c = 0; c < kNumbers / 2; ++c)
      pack.word[c] = PackPair<T>(result[2 * c], result[2 * c + 1]);
    Store(GlobalPtr(static_cast<T*>(out_.y)) + at, pack);
  }

  __device__ __forceinline__ void FinishByNumbers(int row, float (&value)[kColumns]) const {
    const int sample = e_.sample_bias == nullptr ? 0 : row / e_.rows_per_sample;
    const int columns = out_.n - column_;
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      if (c >= columns) break;
      float bias = 0;
      if (e_.bias != nullptr) bias += Load(GlobalPtr(e_.bias) + (column_ + c));
      if (e_.sample_bias != nullptr) {
        bias += Load(GlobalPtr(SampleBias(sample)) + (column_ + c));
      }
      value[c] += bias;
    }
    if (e_.activation == Activation::kGeglu) {
#pragma unroll
      for (int c = 0; c < kColumns; c += 2) {
        if (c >= columns) break;
        const int column = (column_ + c) / 2;
        WriteNumber(row, column, value[c] * Gelu(value[c + 1]) + ResidualAt(row, column));
      }
      return;
    }
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      if (c >= columns) break;
      const float residual = ResidualAt(row, column_ + c);
      WriteNumber(
          row, column_ + c,
          e_.residual_first ? ActivateAny(value[c] + residual) : ActivateAny(value[c]) + residual);
    }
  }
  __device__ __forceinline__ float ActivateAny(float x) const {
    switch (e_.activation) {
      case Activation::kSilu:
        return Silu(x);
      case Activation::kGelu:
        return Gelu(x);
      case Activation::kQuickGelu:
        return QuickGelu(x);
      case Activation::kRelu:
        return Relu(x);
      case Activation::kSoftClamp:
        return SoftClamp(x);
      default:
        return x;
    }
  }
  __device__ __forceinline__ float ResidualAt(int row, int column) const {
    if (e_.residual == nullptr) return 0;
    return ToFloat(
        Load(GlobalPtr(static_cast<const T*>(e_.residual)) + (row * e_.residual_stride + column)));
  }
  __device__ __forceinline__ void WriteNumber(int row, int column, float result) const {
    const int64_t at = row * out_.y_stride + column;
    if (e_.float_output) {
      Store(GlobalPtr(static_cast<float*>(out_.y)) + at, result);
    } else {
      Store(GlobalPtr(static_cast<T*>(out_.y)) + at, FromFloat<T>(result));
    }
  }

  Epilogue e_;
  Output out_;
  int column_;
  bool whole_;
  int bias_end_ = 0;  // the first row that bias_ is not for
  float bias_[kColumns];
};

}  // namespace tiltshift::kernels
