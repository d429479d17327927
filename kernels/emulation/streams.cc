#include "kernels/emulation/streams.h"

#include <utility>

#include "kernels/emulation/card.h"

namespace tiltshift::emulation {

Streams& TheStreams() {
  static Streams streams;
  return streams;
}

cudaError_t Streams::Push(cudaStream_t stream, std::function<void()> work) {
  if (!Known(stream)) return Note(cudaErrorInvalidResourceHandle);
  if (stream == nullptr) {
    DrainAll();
    null_stream.queue.push_back(std::move(work));
    Drain(null_stream);
  } else if (stream->captured != nullptr) {
    stream->captured->work.push_back(std::move(work));
  } else {
    stream->queue.push_back(std::move(work));
  }
  return Result();
}

void Streams::Drain(CUstream_st& stream) {
  while (!stream.queue.empty()) {
    const std::function<void()> work = std::move(stream.queue.front());
    stream.queue.pop_front();
    if (sticky == cudaSuccess) work();
    if (!TheCard().findings().empty()) sticky = cudaErrorLaunchFailure;
  }
}

void Streams::DrainAll() {
  for (cudaStream_t stream : all) Drain(*stream);
}

void Streams::Reach(cudaEvent_t event, int64_t times) {
  CUstream_st& stream = event->stream == nullptr ? null_stream : *event->stream;
  while (event->reached < times && !stream.queue.empty()) {
    const std::function<void()> work = std::move(stream.queue.front());
    stream.queue.pop_front();
    if (sticky == cudaSuccess) work();
    if (!TheCard().findings().empty()) sticky = cudaErrorLaunchFailure;
  }
}

cudaError_t Streams::Note(cudaError_t error) {
  if (error != cudaSuccess) last = error;
  return error;
}

cudaError_t Streams::Result(cudaError_t otherwise) {
  return Note(sticky != cudaSuccess ? sticky : otherwise);
}

cudaError_t Enqueue(cudaStream_t stream, const LaunchShape& shape, std::function<void()> run) {
  constexpr int64_t kMostThreads = 1024;
  constexpr size_t kMostSharedBytes = 99 << 10;  // sm_86, sm_89 and sm_120; others have more
  constexpr unsigned kMostRows = 65535;          // of a grid's y and z
  Streams& streams = TheStreams();
  const std::lock_guard lock(streams.mutex);
  if (shape.block.size() < 1 || shape.block.size() > kMostThreads || shape.grid.size() < 1 ||
      shape.shared_bytes > kMostSharedBytes || shape.grid.y > kMostRows ||
      shape.grid.z > kMostRows) {
    return streams.Note(cudaErrorInvalidValue);
  }
  if (streams.Known(stream)) streams.Tell({CallKind::kLaunch, stream});
  return streams.Push(stream, std::move(run));
}

std::string KernelName(const std::string& pretty_function) {
  const std::string mark = "kKernel = ";
  const size_t at = pretty_function.find(mark);
  if (at == std::string::npos) return pretty_function;
  const size_t first = at + mark.size();
  const size_t end = pretty_function.find(';', first);
  return pretty_function.substr(
      first, (end == std::string::npos ? pretty_function.size() - 1 : end) - first);
}

void ResetError() {
  Streams& streams = TheStreams();
  const std::lock_guard lock(streams.mutex);
  streams.sticky = streams.last = cudaSuccess;
}

}  // namespace tiltshift::emulation
