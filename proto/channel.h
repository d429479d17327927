// How two of the farm's processes keep a connection, both ends' settings in one place: a server
// drops clients that ping more often than it allows.
//
// A peer whose machine is gone, or hangs, sends nothing, not even an end: a client that only reads
// would wait for ever. So clients ping while a call is open, and give the connection up where no
// answer comes: their calls end with UNAVAILABLE, at most kPingEveryMs + kPingTimeoutMs after the
// peer's last sign of life. gRPC waits for a write that is under way before it closes: over TCP the
// same time-out ends it, over a unix socket only the peer's death does.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "base/status.h"

namespace tiltshift {

constexpr int kPingEveryMs = 10'000;
constexpr int kPingTimeoutMs = 5'000;

// A connection of its own to "host:port" or "unix:PATH", not shared with other channels to there;
// tries again after 0.1 s to 1 s. Where nobody takes the connection it has failed after two
// seconds.
std::shared_ptr<grpc::Channel> ConnectTo(const std::string& address,
                                         const std::shared_ptr<grpc::ChannelCredentials>&
                                             credentials = grpc::InsecureChannelCredentials());

// Whether "host:port" or "unix:PATH" is on this machine, whatever names resolve to.
bool IsLoopback(const std::string& address);

// Of a program's --metrics: InvalidArgument beyond this machine, as metrics ask nobody for a token.
// Empty, for none, is fine.
absl::Status CheckMetricsAddress(const std::string& address);

// Blocks until it is connected (true) or the first try has failed, at most so long.
bool WaitForFirstTry(grpc::Channel& channel, int timeout_ms);

// Lets clients ping as ConnectTo does, and has the server ping them as well.
void AllowPings(grpc::ServerBuilder& builder);

}  // namespace tiltshift
