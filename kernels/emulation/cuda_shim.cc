#include "kernels/emulation/cuda_shim.h"

#include <cstdlib>
#include <cstring>
#include <utility>

#include "kernels/emulation/card.h"
#include "kernels/emulation/streams.h"

using tiltshift::emulation::Allocation;
using tiltshift::emulation::Call;
using tiltshift::emulation::CallKind;
using tiltshift::emulation::DeviceMemory;
using tiltshift::emulation::Streams;
using tiltshift::emulation::TheCard;
using tiltshift::emulation::TheStreams;

namespace {

// The lock that every call holds, and the streams under it.
struct Session {
  Streams& streams = TheStreams();
  std::lock_guard<std::recursive_mutex> lock{streams.mutex};
};

bool OnCard(const void* memory, size_t bytes) {
  return TheCard().memory().Find(memory, bytes) != nullptr;
}

bool ReadsCard(cudaMemcpyKind kind) {
  return kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
}
bool WritesCard(cudaMemcpyKind kind) {
  return kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
}

bool MayCopy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return (!WritesCard(kind) || OnCard(to, bytes)) && (!ReadsCard(kind) || OnCard(from, bytes));
}

Call CallOf(const Streams& streams, void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
            cudaStream_t stream) {
  if (kind == cudaMemcpyHostToDevice) {
    return {CallKind::kToCard, stream, bytes, streams.trace.IsPinned(from, bytes)};
  }
  if (kind == cudaMemcpyDeviceToHost) {
    return {CallKind::kToHost, stream, bytes, streams.trace.IsPinned(to, bytes)};
  }
  return {CallKind::kOnCard, stream, bytes};
}

void Copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  std::memcpy(to, from, bytes);
  if (!WritesCard(kind)) return;
  Allocation* target = TheCard().memory().Find(to, bytes);
  if (kind == cudaMemcpyHostToDevice) return DeviceMemory::MarkWritten(*target, to, bytes);
  const Allocation* source = TheCard().memory().Find(from, bytes);
  if (target->written == nullptr) return;
  uint8_t* flags = target->written.get() + (static_cast<char*>(to) - target->begin);
  if (source->written == nullptr) {
    std::memset(flags, 1, bytes);
  } else {
    std::memcpy(flags, source->written.get() + (static_cast<const char*>(from) - source->begin),
                bytes);
  }
}

}  // namespace

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorInvalidResourceHandle:
      return "cudaErrorInvalidResourceHandle";
    case cudaErrorNotReady:
      return "cudaErrorNotReady";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
    case cudaErrorStreamCaptureUnsupported:
      return "cudaErrorStreamCaptureUnsupported";
  }
  return "unknown error";
}
const char* cudaGetErrorString(cudaError_t error) { return cudaGetErrorName(error); }

cudaError_t cudaGetLastError() {
  Session session;
  const cudaError_t error = std::exchange(session.streams.last, cudaSuccess);
  return session.streams.sticky != cudaSuccess ? session.streams.sticky : error;
}
cudaError_t cudaPeekAtLastError() {
  Session session;
  return session.streams.sticky != cudaSuccess ? session.streams.sticky : session.streams.last;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 12000;  // whose calls these are
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : cudaErrorInvalidDevice; }

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device != 0) return cudaErrorInvalidDevice;
  *properties = {};
  std::strcpy(properties->name, "emulated");
  properties->totalGlobalMem = TheCard().memory().limit();
  properties->sharedMemPerBlockOptin = 99 << 10;
  properties->major = 8;
  properties->minor = 0;
  properties->multiProcessorCount = 1;
  properties->l2CacheSize = 0;
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  Session session;
  session.streams.Tell({CallKind::kWait});
  session.streams.DrainAll();
  return session.streams.Result();
}

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  DeviceMemory& memory = TheCard().memory();
  *total_bytes = memory.limit();
  *free_bytes = memory.limit() - memory.bytes_in_use();
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  Session session;
  session.streams.Tell({CallKind::kAllocate, nullptr, bytes});
  if (session.streams.sticky != cudaSuccess) return session.streams.Result();
  *memory =
      bytes == 0 ? nullptr : TheCard().memory().Allocate(bytes, tiltshift::emulation::tracking);
  return session.streams.Result(bytes != 0 && *memory == nullptr ? cudaErrorMemoryAllocation
                                                                 : cudaSuccess);
}

// Waits for all that runs, as the card's does.
cudaError_t cudaFree(void* memory) {
  Session session;
  if (memory != nullptr) session.streams.Tell({CallKind::kFree});
  session.streams.DrainAll();
  if (memory != nullptr && !TheCard().memory().Free(memory))
    return session.streams.Note(cudaErrorInvalidValue);
  return session.streams.Result();
}

cudaError_t cudaMallocHost(void** memory, size_t bytes) {
  Session session;
  *memory = std::malloc(bytes);
  if (*memory == nullptr) return cudaErrorMemoryAllocation;
  session.streams.trace.Pin(*memory, bytes);
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* memory) {
  Session session;
  session.streams.trace.Unpin(memory);
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return cudaMemcpyAsync(to, from, bytes, kind, nullptr);
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  Session session;
  if (bytes == 0) return session.streams.Result();
  if (!MayCopy(to, from, bytes, kind)) return session.streams.Note(cudaErrorInvalidValue);
  if (session.streams.Known(stream)) {
    session.streams.Tell(CallOf(session.streams, to, from, bytes, kind, stream));
  }
  return session.streams.Push(stream, [=] { Copy(to, from, bytes, kind); });
}

cudaError_t cudaMemset(void* memory, int value, size_t bytes) {
  return cudaMemsetAsync(memory, value, bytes, nullptr);
}

cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream) {
  Session session;
  if (bytes == 0) return session.streams.Result();
  if (!OnCard(memory, bytes)) return session.streams.Note(cudaErrorInvalidValue);
  if (session.streams.Known(stream)) session.streams.Tell({CallKind::kOnCard, stream, bytes});
  return session.streams.Push(stream, [=] {
    std::memset(memory, value, bytes);
    DeviceMemory::MarkWritten(*TheCard().memory().Find(memory, bytes), memory, bytes);
  });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  Session session;
  *stream = new CUstream_st;
  session.streams.all.insert(*stream);
  return session.streams.Result();
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  Session session;
  if (stream == nullptr || !session.streams.Known(stream)) {
    return session.streams.Note(cudaErrorInvalidResourceHandle);
  }
  session.streams.Drain(*stream);
  session.streams.all.erase(stream);
  delete stream;
  return session.streams.Result();
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  Session session;
  if (!session.streams.Known(stream)) return session.streams.Note(cudaErrorInvalidResourceHandle);
  session.streams.Tell({CallKind::kWait, stream});
  if (stream == nullptr) {
    session.streams.DrainAll();
  } else if (stream->captured != nullptr) {
    return session.streams.Note(cudaErrorStreamCaptureUnsupported);
  } else {
    session.streams.Drain(*stream);
  }
  return session.streams.Result();
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  Session session;
  return session.streams.Push(
      stream, [event, times = event->recorded] { TheStreams().Reach(event, times); });
}

cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  Session session;
  session.streams.Reach(event, event->recorded);
  delete event;
  return session.streams.Result();
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  Session session;
  event->stream = stream;
  ++event->recorded;
  return session.streams.Push(stream, [event, times = event->recorded] {
    event->reached = times;
    event->time = std::chrono::steady_clock::now();
  });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  Session session;
  if (event->reached == event->recorded) return session.streams.Result();
  // A program that polls makes progress, but never finds it done the first time.
  session.streams.Reach(event, event->recorded);
  return cudaErrorNotReady;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  Session session;
  if (event->recorded > 0) session.streams.Tell({CallKind::kWait, event->stream});
  session.streams.Reach(event, event->recorded);
  return session.streams.Result();
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  Session session;
  if (from->reached == 0 || to->reached == 0) return session.streams.Note(cudaErrorNotReady);
  *milliseconds = std::chrono::duration<float, std::milli>(to->time - from->time).count();
  return session.streams.Result();
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  Session session;
  if (stream == nullptr || !session.streams.Known(stream) || stream->captured != nullptr) {
    return session.streams.Note(cudaErrorStreamCaptureUnsupported);
  }
  stream->captured = std::make_unique<CUgraph_st>();
  return session.streams.Result();
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  Session session;
  if (stream == nullptr || !session.streams.Known(stream) || stream->captured == nullptr) {
    return session.streams.Note(cudaErrorInvalidValue);
  }
  *graph = stream->captured.release();
  return session.streams.Result();
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph,
                                 unsigned long long) {
  *executable = new CUgraphExec_st{std::make_shared<const CUgraph_st>(*graph)};
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  Session session;
  if (session.streams.Known(stream)) session.streams.Tell({CallKind::kGraph, stream});
  return session.streams.Push(stream, [graph = executable->graph] {
    for (const auto& work : graph->work) work();
  });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}
