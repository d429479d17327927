// What runs graphs. One factory chooses the backend; nothing above this header knows which one it is.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "engine/denoise_batch.h"
#include "engine/device.h"
#include "engine/graph.h"
#include "engine/pack/pack_writer.h"
#include "engine/pack/weight_pack.h"

namespace tiltshift::engine {

// kBf16: products of bf16, sums in fp32. kFp32: the same of fp32; where HasFp32 is false, of fp16, which
// keeps 11 bits where bf16 keeps 8, for the small networks of text and time. kFp32Sparing: as kFp32, and a
// backend may leave large matrices in the model's files and convert them at each run, for what runs seldom.
enum class Compute { kBf16, kFp32, kFp32Sparing };

// A tensor that outlives a run, in the backend's memory: a prompt's keys and values.
class Buffer {
 public:
  virtual ~Buffer() = default;
};

struct OpProfile {
  std::string kind;
  std::string name;
  double flops = 0;
  double seconds = 0;  // of one run
};

// A compiled graph with its memory. Used by one thread at a time.
//
// I4: the values written and the buffers bound decide every bit of what is read, whatever ran before and
// however many threads run it.
class Program {
 public:
  virtual ~Program() = default;

  // Inputs and outputs, fp32; sizes must agree with the graph.
  virtual void Write(const Value& input, std::span<const float> values) = 0;
  virtual void Read(const Value& output, std::span<float> values) const = 0;
  // A copy of an output as the backend holds it, and such a copy as another program's input. The buffer
  // stays the caller's and must live until the next Bind. ResourceExhausted: too little memory.
  virtual absl::StatusOr<std::unique_ptr<Buffer>> Keep(const Value& output) const = 0;
  virtual void Bind(const Value& input, const Buffer& buffer) = 0;

  // Of the activations.
  virtual size_t memory_bytes() const { return 0; }

  // Allocates nothing.
  virtual void Run() = 0;
  // Runs this program and another of the same graph, operation by operation, so that weights come from
  // memory once for both. The bits are those of two runs.
  virtual void RunWith(Program& other) = 0;

  // Each operation's seconds in `runs` whole runs, the smallest of each. With `beside`, runs as RunWith does,
  // and gives half of what the two took.
  virtual std::vector<OpProfile> Profile(int runs, Program* beside = nullptr) = 0;
  // Each operation's seconds when it runs alone, over and over: what the hardware and the library give at
  // its shape when nothing is between the operations.
  virtual std::vector<OpProfile> ProfileAlone(int runs) = 0;
};

// Bytes of a program.
struct ProgramMemory {
  size_t own = 0;      // Program::memory_bytes
  size_t weights = 0;  // packed, beside the model's files: shared with the other programs that have them
};

// Packed weights, shared by all programs of a model. Safe to use from many threads.
class Backend {
 public:
  virtual ~Backend() = default;

  // "cpu-avx512_core_amx/dnnl-2.6.3": what, with the engine's version, the precision and the model, decides
  // the bits.
  virtual std::string name() const = 0;
  virtual bool HasBf16() const = 0;
  virtual bool HasFp32() const { return true; }
  // Aborted once the device has failed: what programs have given since is worthless, and only another
  // process can use the device again.
  virtual absl::Status health() const { return absl::OkStatus(); }
  // A program is for this many threads: they must be what the thread that runs it uses. Weights are packed
  // at first use. The graph's parameters must outlive the backend. Unimplemented: a shape that the library
  // has no code for. ResourceExhausted: too little memory; what was compiled before still works.
  virtual absl::StatusOr<std::unique_ptr<Program>> Compile(const Graph& graph, Compute compute) = 0;
  // Where the samples stay in the device's memory while they are denoised. Elsewhere the host makes the steps
  // between a program's runs.
  virtual bool DenoisesInBatches() const { return false; }
  virtual absl::StatusOr<std::unique_ptr<DenoiseBatch>> CompileDenoise(const DenoiseBatchShape& shape,
                                                                       Compute compute) {
    return absl::UnimplementedError("denoising in batches");
  }
  // What decides where the bytes of a packed weight lie; empty: this backend's weights are not kept in packs.
  virtual std::string packing() const { return ""; }
  // Packs the graph's weights into the writer's file; this object keeps none of them.
  virtual absl::Status PackInto(PackWriter& writer, const Graph& graph, Compute compute) { return absl::OkStatus(); }
  // Before anything is compiled.
  virtual void UsePack(std::shared_ptr<const WeightPack> pack) {}
  // What Compile would take, taking none of it; zeros: not known.
  virtual absl::StatusOr<ProgramMemory> MemoryFor(const Graph& graph, Compute compute) { return ProgramMemory{}; }
  // Threads that Compile's programs would use on the calling thread.
  virtual int threads() const = 0;
};

// What multiplies on the CPU: our kernels where they are the faster, or oneDNN alone, benches' yardstick.
enum class Products : uint8_t { kFastest, kLibrary };
std::unique_ptr<Backend> MakeCpuBackend(Products products = Products::kFastest);

// The process's first card, or the emulated one, which is called "emulated". FailedPrecondition: none is
// there, or none that serves.
absl::StatusOr<DeviceInfo> FindCudaCard();
absl::StatusOr<std::unique_ptr<Backend>> MakeCudaBackend();

// The one place where a device is chosen.
absl::StatusOr<std::unique_ptr<Backend>> MakeBackend(Device device, Products products = Products::kFastest);

}  // namespace tiltshift::engine
