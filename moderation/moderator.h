// Who may veto a prompt, a photo or an output before it is rendered or published: a command or a
// gRPC service that the farm's operator names. docs/moderation.md has both protocols.
#pragma once

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
};

struct ModeratorOptions {
  std::string who;  // "command:CMD", "grpc:HOST:PORT", "grpc:unix:PATH"; empty: nobody
  int timeout_ms = 10'000;
  bool fail_open = false;  // where there is no answer: allow, instead of refusing
};

// Null where nobody is named. InvalidArgument: neither a command nor a service. What it returns
// follows `fail_open`: without an answer it allows, and warns in the log, or is Unavailable.
absl::StatusOr<std::unique_ptr<Moderator>> OpenModerator(const ModeratorOptions& options);

// `command` is run by /bin/sh, once a review: what is reviewed on its standard input, the rest of
// the request in its environment. Exit code 0 allows; 1 vetoes, the first line of its output being
// the reason.
std::unique_ptr<Moderator> MakeCommandModerator(const std::string& command, int timeout_ms);
std::unique_ptr<Moderator> MakeGrpcModerator(const std::string& address, int timeout_ms);

}  // namespace tiltshift::moderation
