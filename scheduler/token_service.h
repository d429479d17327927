// The operators' service: tokens made, revoked, listed.
#pragma once

#include "access/token_book.h"
#include "base/clock.h"
#include "scheduler/call_server.h"
#include "scheduler/farm_loop.h"

namespace tiltshift::scheduler {

// v1::Tokens, as methods of `server`. `tokens`: the loop's; null where nobody is asked for one:
// every call is refused then.
void AddTokenService(CallServer& server, FarmLoop& loop, access::TokenBook* tokens,
                     const Clock& clock);

}  // namespace tiltshift::scheduler
