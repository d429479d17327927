// The threads of the host that run a grid's blocks. They sleep between grids: OpenMP's spin unless
// the environment says otherwise, which on a machine with other work took four fifths of a render.
#pragma once

#include <cstdint>
#include <functional>

namespace tiltshift::emulation {

// Calls `work` on this thread and on others, as many as there are cores but at most `most` in all,
// and returns when all calls have; one such call at a time. For work that is shared out by itself:
// a thread that comes when this one has ended is not needed.
void RunOnHost(int64_t most, const std::function<void()>& work);

}  // namespace tiltshift::emulation
