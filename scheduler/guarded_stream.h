// A stream's messages, seen by the gate before its handler: so no handler can forget to ask whose
// job it is that a caller names.
#pragma once

#include <memory>

#include "access/gate.h"
#include "scheduler/call.h"

namespace tiltshift::scheduler {

// `handler`, asked for only where the call's first message was admitted and with what the gate
// filled in. `handler` itself, where the method's rule looks at no message. `gate` outlives the
// call.
std::shared_ptr<CallHandler> GuardedStream(std::shared_ptr<Call> call, const access::Gate& gate,
                                           std::shared_ptr<access::Admission> admission,
                                           std::shared_ptr<CallHandler> handler);

}  // namespace tiltshift::scheduler
