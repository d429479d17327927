// How long the card takes for something, by its own events.
#pragma once

#include <functional>

#include "kernels/runtime.h"

namespace tiltshift::kernels::bench {

// Seconds of one `work(stream, i)`: warmed up, the median of several batches of runs, each batch
// one CUDA graph. i counts up, so that work can go round several sets of buffers.
double SecondsOf(const std::function<void(cudaStream_t, int)>& work);

// Bytes a second that a device-to-device copy moves, read and written both counted.
double CopyBandwidth();

}  // namespace tiltshift::kernels::bench
