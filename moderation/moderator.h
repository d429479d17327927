// Who may veto a prompt, a photo or an output before it is rendered or published: a command or a
// gRPC service that the farm's operator names. docs/moderation.md has both protocols.
#pragma once

#include <grpcpp/channel.h>

#include <memory>
#include <string>

#include "base/status.h"
#include "proto/moderation.pb.h"

namespace tiltshift::moderation {

class Moderator {
 public:
  virtual ~Moderator() = default;
  // OK: allowed. PermissionDenied: vetoed, with the reason. Anything else: there was no answer.
  // From any thread; blocks until there is an answer or its time is up.
  virtual absl::Status Review(const v1::ReviewRequest& request) = 0;
  // Whether it has allowed this prompt, or the photo of this id, before: then it need not be asked.
  // From any thread.
  virtual bool HasAllowed(const v1::ReviewRequest&) const { return false; }
};

struct ModeratorOptions {
  std::string who;  // "command:CMD", "grpc:HOST:PORT", "grpc:unix:PATH"; empty: nobody
  std::string ca;   // of a service's certificate: speak TLS; empty: in the clear, on this machine
  std::string cert, key;  // of our own, where the service asks for one
  int timeout_ms = 10'000;
  bool fail_open = false;  // where there is no answer: allow, instead of refusing
};

// Null where nobody is named. InvalidArgument: neither a command nor a service, or one on another
// machine without TLS. What it returns
// follows `fail_open`: without an answer it allows, and warns in the log, or is Unavailable.
absl::StatusOr<std::unique_ptr<Moderator>> OpenModerator(const ModeratorOptions& options);

// `command` is run by /bin/sh, once a review: what is reviewed on its standard input, the rest of
// the request in its environment. Exit code 0 allows; 1 vetoes, the first line of its output being
// the reason.
std::unique_ptr<Moderator> MakeCommandModerator(const std::string& command, int timeout_ms);
std::unique_ptr<Moderator> MakeGrpcModerator(const std::string& address,
                                             std::shared_ptr<grpc::Channel> channel,
                                             int timeout_ms);

}  // namespace tiltshift::moderation
