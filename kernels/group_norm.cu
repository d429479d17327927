// GroupNorm: see norm.h.
//
// MomentsKernel: a block takes a chunk of positions with all channels, a thread 8 channels of every
// R-th position, 8 positions at a time in registers; then the block merges its R rows and each
// group's channels. The last of a sample's blocks to come, by an atomic counter, merges the chunks
// in their own order and writes factors and summands (without a counter: FinishKernel).
// ApplyKernel: y = f(x factor + summand).
//
// One block a group would leave most of a card idle: here 64 x 64 positions of 320 channels are 86
// chunks a sample. Bytes: x once for the moments, x and y once more to apply, 8 a group and chunk
// in between; 4 to 5 operations a byte: bound by memory, and where the next convolution applies the
// affine itself by a third of it. 256 threads (more from 2,056 channels on), 16 KB of
// shared memory; 89 registers for the moments, 40 to apply (sm_90). Errors: additions on the
// longest path, see testing/norm_case.cc, which is the reference. Time (H200), with
// FinishKernel as a third launch, a block a group: 14.6 us of 2 x 4096 x 320; 65.8 us of 2^18 x
// 128, 2.0 TB/s. With two: unmeasured.
#include <cmath>

#include "kernels/launch.h"
#include "kernels/norm.h"
#include "kernels/vector.cuh"

namespace tiltshift::kernels {
namespace {

constexpr int kBatch = 8;  // positions that a thread holds at once
constexpr int kMostThreads = 512;

// How a shape is cut: the same for every batch.
struct Cut {
  int vectors;          // of 8 channels
  int rows;             // positions side by side in a block
  int chunk_positions;  // a block's
  int chunks;           // a sample's
  int threads;
  // Of a position's channels in shared memory: a warp that reads some of a group's at several
  // positions, each `slots` apart in its lanes, meets every bank once.
  int slots, stride;
};

__host__ __device__ __forceinline__ Cut CutOf(const GroupNormShape& shape) {
  constexpr int kThreads = 256, kManyPositions = 1 << 15;
  Cut cut;
  cut.vectors = shape.channels / kChunk;
  cut.rows = cut.vectors < kThreads ? kThreads / cut.vectors : 1;
  cut.chunk_positions = cut.rows * kBatch * (shape.positions >= kManyPositions ? 8 : 1);
  cut.chunks = (shape.positions + cut.chunk_positions - 1) / cut.chunk_positions;
  cut.threads = (cut.rows * cut.vectors + 31) / 32 * 32;
  cut.slots = (shape.channels / shape.groups + 3) / 4 * 4;
  cut.stride = shape.channels + (shape.channels % 32 == 0 ? cut.slots % 32 : 0);
  return cut;
}

// Of `count` numbers: their mean, and the sum of squares about it.
struct alignas(8) Moments {
  float mean, squares;
};

// A thread's moments of 8 channels.
struct ChannelMoments {
  float count = 0;
  float mean[kChunk] = {}, squares[kChunk] = {};

  // Adds the first `some` of a batch; the rest are zeros.
  template <class T>
  __device__ __forceinline__ void Add(const Words4 (&words)[kBatch], int some) {
    if (some <= 0) return;
    const float fresh = static_cast<float>(some), all = count + fresh;
#pragma unroll
    for (int c = 0; c < kChunk; ++c) {
      const auto number = [&](int i) {
        const uint32_t pair = words[i].word[c / 2];
        return c % 2 == 0 ? LowOf<T>(pair) : HighOf<T>(pair);
      };
      float sum = 0, about = 0;
#pragma unroll
      for (int i = 0; i < kBatch; ++i) sum += number(i);  // those beyond `some` are zeros
      const float batch_mean = sum / fresh;
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        const float difference = i < some ? number(i) - batch_mean : 0.0f;
        about += difference * difference;
      }
      const float apart = batch_mean - mean[c];
      mean[c] += apart * (fresh / all);
      squares[c] += about + apart * apart * (count * fresh / all);
    }
    count = all;
  }
};

// Eight lanes whose vectors follow each other meet every bank once: four begin with the second
// half.
__device__ __forceinline__ void StoreChannels(SharedPtr<float> to, int vector,
                                              const float (&value)[kChunk]) {
  const bool swapped = vector / 4 % 2 != 0;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const bool second = swapped != (i != 0);
    Floats4 half;
#pragma unroll
    for (int c = 0; c < 4; ++c) half.value[c] = second ? value[4 + c] : value[c];
    Store(to + (second ? 4 : 0), half);
  }
}

// A block's chunk: moments of its channels, then of its groups.
template <class T>
__device__ __forceinline__ void StoreMoments(const GroupNormArguments<T>& p, const Cut& cut) {
  const int thread = ThreadIndex().x, vector = thread % cut.vectors, row = thread / cut.vectors;
  const int chunk = BlockIndex().x, sample = BlockIndex().y;
  const int first = chunk * cut.chunk_positions;
  const int end = first + cut.chunk_positions < p.shape.positions ? first + cut.chunk_positions
                                                                  : p.shape.positions;
  const SharedPtr<float> means = Shared<float>(0),
                         squares = Shared<float>(cut.rows * cut.stride * 4),
                         counts = Shared<float>(2 * cut.rows * cut.stride * 4);
  if (row < cut.rows) {
    const GlobalPtr<const T> x =
        GlobalPtr<const T>(p.x) +
        (int64_t{sample} * p.shape.positions * p.x_stride + vector * kChunk);
    ChannelMoments moments;
    for (int position = first + row; position < end; position += kBatch * cut.rows) {
      Words4 words[kBatch] = {};
      int some = 0;
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        if (position + i * cut.rows < end) {
          words[i] = Load<Words4>(x + int64_t{position + i * cut.rows} * p.x_stride);
          some = i + 1;
        }
      }
      moments.Add<T>(words, some);
    }
    StoreChannels(means + (row * cut.stride + vector * kChunk), vector, moments.mean);
    StoreChannels(squares + (row * cut.stride + vector * kChunk), vector, moments.squares);
    if (vector == 0) Store(counts + row, moments.count);
  }
  SyncThreads();

  // A warp a group: lanes share out its rows' channels. A slot behind them counts for nothing.
  const int width = p.shape.channels / p.shape.groups, parts = cut.rows * cut.slots;
  for (int group = Warp(); group < p.shape.groups; group += cut.threads / 32) {
    struct Part {
      int at;
      float count;
    };
    const auto part_of = [&](int part) {
      const int part_row = part / cut.slots, slot = part % cut.slots;
      const int channel = slot < width ? slot : width - 1;
      const float all = Load(counts + part_row);
      return Part{part_row * cut.stride + group * width + channel, slot < width ? all : 0.0f};
    };
    float count = 0, sum = 0;
    for (int i = Lane(); i < parts; i += 32) {
      const Part part = part_of(i);
      count += part.count;
      sum += part.count * Load(means + part.at);
    }
    const float mean = SumOfWarp(sum) / SumOfWarp(count);
    float about = 0;
    for (int i = Lane(); i < parts; i += 32) {
      const Part part = part_of(i);
      const float apart = Load(means + part.at) - mean, inside = Load(squares + part.at);
      about += part.count > 0 ? inside + part.count * apart * apart : 0.0f;
    }
    about = SumOfWarp(about);
    if (Lane() == 0) {
      const int64_t at = (int64_t{sample} * p.shape.groups + group) * cut.chunks + chunk;
      Store(GlobalPtr(p.moments) + 2 * at, Moments{mean, about});
    }
  }
}

// Of a group: the mean, and the mean of the squares about it. Lanes share out the chunks.
template <class T>
__device__ __forceinline__ Moments MergedMoments(const GroupNormArguments<T>& p, const Cut& cut,
                                                 int sample, int group) {
  const int width = p.shape.channels / p.shape.groups;
  const auto count_of = [&](int chunk) {
    const int left = p.shape.positions - chunk * cut.chunk_positions;
    return static_cast<float>(left < cut.chunk_positions ? left : cut.chunk_positions);
  };
  const float positions = static_cast<float>(p.shape.positions);
  const GlobalPtr<float> moments =
      GlobalPtr(p.moments) + 2 * (int64_t{sample} * p.shape.groups + group) * cut.chunks;
  float sum = 0;
  for (int chunk = Lane(); chunk < cut.chunks; chunk += 32) {
    sum += count_of(chunk) * Load<Moments>(moments + 2 * chunk).mean;
  }
  const float mean = SumOfWarp(sum) / positions;
  float about = 0;
  for (int chunk = Lane(); chunk < cut.chunks; chunk += 32) {
    const Moments m = Load<Moments>(moments + 2 * chunk);
    const float apart = m.mean - mean;
    about += m.squares + count_of(chunk) * static_cast<float>(width) * apart * apart;
  }
  return {mean, SumOfWarp(about) / (positions * static_cast<float>(width))};
}

// A sample's factors and summands: a warp a group.
template <class T>
__device__ __forceinline__ void FinishSample(const GroupNormArguments<T>& p, const Cut& cut,
                                             int sample) {
  const int width = p.shape.channels / p.shape.groups;
  const GlobalPtr<float> affine = GlobalPtr(p.affine) + int64_t{2} * sample * p.shape.channels;
  for (int group = Warp(); group < p.shape.groups; group += cut.threads / 32) {
    const int64_t row = int64_t{sample} * 2 * p.shape.groups + group;
    Moments of_group;
    if (p.given != nullptr) {
      const float mean = Load(GlobalPtr(p.given) + row);
      const float square = Load(GlobalPtr(p.given) + (row + p.shape.groups));
      of_group = {mean, fmaxf(square - mean * mean, 0.0f)};
    } else {
      of_group = MergedMoments(p, cut, sample, group);
    }
    const float mean = of_group.mean, variance = of_group.squares;
    if (p.measured != nullptr && Lane() == 0) {
      Store(GlobalPtr(p.measured) + row, mean);
      Store(GlobalPtr(p.measured) + (row + p.shape.groups), variance + mean * mean);
    }
    if (p.affine == nullptr) continue;
    const float inverse = 1.0f / sqrtf(variance + p.eps);
    for (int i = Lane(); i < width; i += 32) {
      const int channel = group * width + i;
      const float factor = inverse * Load(GlobalPtr(p.scale) + channel);
      Store(affine + channel, factor);
      Store(affine + (p.shape.channels + channel),
            Load(GlobalPtr(p.shift) + channel) - mean * factor);
    }
  }
}

// Whether this is the last of the sample's blocks: then it sees what the others stored. The counter
// is zero again behind it.
template <class T>
__device__ __forceinline__ bool ComesLast(const GroupNormArguments<T>& p, const Cut& cut,
                                          int sample) {
  const SharedPtr<uint32_t> others = Shared<uint32_t>(0);
  SyncThreads();  // the moments are stored, and what lay here is read to the end
  if (ThreadIndex().x == 0) {
    Fence();
    const GlobalPtr<uint32_t> arrivals = GlobalPtr(p.arrivals) + sample;
    const uint32_t before = AtomicAdd(arrivals, 1u);
    Fence();
    const bool last = before + 1 == static_cast<uint32_t>(cut.chunks);
    if (last) Store(arrivals, 0u);
    Store(others, before);
  }
  SyncThreads();
  return Load(others) + 1 == static_cast<uint32_t>(cut.chunks);
}

template <class T>
__global__ void __launch_bounds__(kMostThreads) FinishKernel(GroupNormArguments<T> p) {
  FinishSample(p, CutOf(p.shape), BlockIndex().x);
}

template <class T>
__global__ void __launch_bounds__(kMostThreads) MomentsKernel(GroupNormArguments<T> p) {
  const Cut cut = CutOf(p.shape);
  StoreMoments(p, cut);
  if (p.arrivals != nullptr && ComesLast(p, cut, BlockIndex().y)) {
    FinishSample(p, cut, BlockIndex().y);
  }
}

template <class T, bool kSilu>
__global__ void __launch_bounds__(kMostThreads) ApplyKernel(GroupNormArguments<T> p) {
  const Cut cut = CutOf(p.shape);
  const int thread = ThreadIndex().x, vector = thread % cut.vectors, row = thread / cut.vectors;
  if (row >= cut.rows) return;
  const int64_t sample = BlockIndex().y;
  const GlobalPtr<const float> affine =
      GlobalPtr<const float>(p.affine) + (2 * sample * p.shape.channels + vector * kChunk);
  float factor[kChunk], summand[kChunk];
  LoadFloats(affine, factor);
  LoadFloats(affine + p.shape.channels, summand);
  const int64_t first = sample * p.shape.positions;
  const GlobalPtr<const T> x = GlobalPtr<const T>(p.x) + (first * p.x_stride + vector * kChunk);
  const GlobalPtr<T> y = GlobalPtr(p.y) + (first * p.y_stride + vector * kChunk);
  const int begin = BlockIndex().x * cut.rows * kBatch + row;
#pragma unroll
  for (int i = 0; i < kBatch; ++i) {
    const int position = begin + i * cut.rows;
    if (position >= p.shape.positions) break;
    float value[kChunk];
    Unpack<T>(Load<Words4>(x + position * p.x_stride), value);
#pragma unroll
    for (int c = 0; c < kChunk; ++c) {
      value[c] = value[c] * factor[c] + summand[c];
      if (kSilu) value[c] = Silu(value[c]);
    }
    Store(y + position * p.y_stride, Pack<T>(value));
  }
}

template <class T>
bool Fits(const GroupNormArguments<T>& p) {
  const GroupNormShape& s = p.shape;
  constexpr int kMostChannels = kMostThreads * kChunk, kMostGrid = 65535;
  const auto aligned = [](const void* at) {
    return reinterpret_cast<uintptr_t>(at) % kChunkBytes == 0;
  };
  return s.batch > 0 && s.batch <= kMostGrid && s.positions > 0 && s.groups > 0 && s.channels > 0 &&
         s.channels <= kMostChannels && s.channels % kChunk == 0 && s.channels % s.groups == 0 &&
         p.x_stride % kChunk == 0 && p.y_stride % kChunk == 0 && aligned(p.x) && aligned(p.y) &&
         aligned(p.moments) && aligned(p.affine) && (p.moments != nullptr || p.given != nullptr) &&
         (p.affine != nullptr || (p.measured != nullptr && p.y == nullptr));
}

}  // namespace

int64_t GroupNormMomentFloats(const GroupNormShape& shape) {
  return int64_t{2} * shape.batch * shape.groups * CutOf(shape).chunks;
}

template <class T>
cudaError_t GroupNorm(cudaStream_t stream, const GroupNormArguments<T>& p) {
  if (!Fits(p)) return cudaErrorInvalidValue;
  const Cut cut = CutOf(p.shape);
  const auto batch = static_cast<unsigned>(p.shape.batch);
  const auto threads = static_cast<unsigned>(cut.threads);
  cudaError_t error = cudaSuccess;
  if (p.given == nullptr) {
    const LaunchShape shape = {
        .grid = {static_cast<unsigned>(cut.chunks), batch},
        .block = {threads},
        .shared_bytes = static_cast<size_t>(cut.rows) * (2 * cut.stride + 1) * 4};
    error = Launch<&MomentsKernel<T>>(stream, shape, p);
  }
  if (error == cudaSuccess && (p.given != nullptr || p.arrivals == nullptr)) {
    const LaunchShape shape = {.grid = {batch}, .block = {threads}};
    error = Launch<&FinishKernel<T>>(stream, shape, p);
  }
  if (error != cudaSuccess || p.y == nullptr) return error;
  const int block_positions = cut.rows * kBatch;
  const auto blocks =
      static_cast<unsigned>((p.shape.positions + block_positions - 1) / block_positions);
  const LaunchShape shape = {.grid = {blocks, batch}, .block = {threads}};
  return p.silu ? Launch<&ApplyKernel<T, true>>(stream, shape, p)
                : Launch<&ApplyKernel<T, false>>(stream, shape, p);
}

template cudaError_t GroupNorm(cudaStream_t, const GroupNormArguments<Bf16>&);
#ifndef TILTSHIFT_BF16_ONLY
template cudaError_t GroupNorm(cudaStream_t, const GroupNormArguments<Fp16>&);
#endif

}  // namespace tiltshift::kernels
