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

template <class T>
class RowFinisher {
 public:
  static constexpr int kColumns = 8;

  __device__ __forceinline__ RowFinisher(const Epilogue& epilogue, const Output& output)
      : e_(epilogue), out_(output) {}

  // The bias of columns [column, column + 8).
  __device__ __forceinline__ void LoadBias(int column, float (&bias)[kColumns]) const {
#pragma unroll
    for (float& b : bias) b = 0;
    if (e_.bias != nullptr) AddFloats(e_.bias, column, bias);
  }

  // `value`: the sums of those columns of `row`, which exists; so does the first column.
  __device__ __forceinline__ void Finish(int row, int column, const float (&bias)[kColumns],
                                         float (&value)[kColumns]) const {
#pragma unroll
    for (int i = 0; i < kColumns; ++i) value[i] += bias[i];
    if (e_.sample_bias != nullptr) {
      AddFloats(e_.sample_bias + int64_t{row / e_.rows_per_sample} * out_.n, column, value);
    }
    if (e_.activation == Activation::kGeglu) {
      float gated[kColumns / 2];
#pragma unroll
      for (int i = 0; i < kColumns / 2; ++i) gated[i] = value[2 * i] * Gelu(value[2 * i + 1]);
      Write<kColumns / 2>(row, column / 2, out_.n / 2, gated);
      return;
    }
    if (e_.activation == Activation::kSilu) {
#pragma unroll
      for (float& v : value) v = Silu(v);
    } else if (e_.activation == Activation::kGelu) {
#pragma unroll
      for (float& v : value) v = Gelu(v);
    } else if (e_.activation == Activation::kQuickGelu) {
#pragma unroll
      for (float& v : value) v = QuickGelu(v);
    }
    Write<kColumns>(row, column, out_.n, value);
  }

 private:
  // value[i] += from[column + i] where that column exists.
  __device__ __forceinline__ void AddFloats(const float* from, int column,
                                            float (&value)[kColumns]) const {
    const GlobalPtr<const float> at = GlobalPtr<const float>(from) + column;
    if (column + kColumns <= out_.n && out_.n % 4 == 0) {
#pragma unroll
      for (int half = 0; half < kColumns; half += 4) {
        const Floats4 floats = Load<Floats4>(at + half);
#pragma unroll
        for (int i = 0; i < 4; ++i) value[half + i] += floats.value[i];
      }
      return;
    }
#pragma unroll
    for (int i = 0; i < kColumns; ++i) {
      if (column + i < out_.n) value[i] += Load(at + i);
    }
  }

  // kCount numbers of y's row, of which only those before `columns` exist; whole ones go in one
  // access.
  template <int kCount>
  __device__ __forceinline__ void Write(int row, int column, int columns,
                                        float (&value)[kCount]) const {
    const bool whole = column + kCount <= columns;
    if (e_.residual != nullptr) {
      const GlobalPtr<const T> from = GlobalPtr(static_cast<const T*>(e_.residual)) +
                                      (int64_t{row} * e_.residual_stride + column);
      if (whole && e_.residual_stride % kCount == 0) {
        const Pack<kCount> pack = Load<Pack<kCount>>(from);
#pragma unroll
        for (int i = 0; i < kCount / 2; ++i) {
          value[2 * i] += LowOf<T>(pack.word[i]);
          value[2 * i + 1] += HighOf<T>(pack.word[i]);
        }
      } else {
#pragma unroll
        for (int i = 0; i < kCount; ++i) {
          if (column + i < columns) value[i] += ToFloat(Load(from + i));
        }
      }
    }
    const int64_t at = int64_t{row} * out_.y_stride + column;
    if (e_.float_output) {
      WriteFloats<kCount>(GlobalPtr(static_cast<float*>(out_.y)) + at, columns - column, value);
    } else if (whole && out_.y_stride % kCount == 0) {
      Pack<kCount> pack;
#pragma unroll
      for (int i = 0; i < kCount / 2; ++i)
        pack.word[i] = PackPair<T>(value[2 * i], value[2 * i + 1]);
      Store(GlobalPtr(static_cast<T*>(out_.y)) + at, pack);
    } else {
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        if (column + i < columns)
          Store(GlobalPtr(static_cast<T*>(out_.y)) + at + i, FromFloat<T>(value[i]));
      }
    }
  }

  template <int kCount>
  __device__ __forceinline__ void WriteFloats(GlobalPtr<float> to, int columns,
                                              const float (&value)[kCount]) const {
    if (columns >= kCount && out_.y_stride % 4 == 0) {
#pragma unroll
      for (int i = 0; i < kCount / 4; ++i) {
        Store(to + 4 * i,
              Floats4{{value[4 * i], value[4 * i + 1], value[4 * i + 2], value[4 * i + 3]}});
      }
      return;
    }
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      if (i < columns) Store(to + i, value[i]);
    }
  }

  template <int kCount>
  struct alignas(2 * kCount) Pack {
    uint32_t word[kCount / 2];
  };

  Epilogue e_;
  Output out_;
};

}  // namespace tiltshift::kernels
