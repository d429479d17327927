// Who a client of the farm is, and how it knows the farm: a token, sent with every call, and TLS.
// The same for every program that calls a scheduler.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "base/status.h"

namespace tiltshift {

// As the command line says it. Certificates are read again when they change (proto/tls_files.h).
struct IdentityOptions {
  // "none"; empty: TILTSHIFT_TOKEN, else the user's own (DefaultTokenFile), if there is one.
  std::string token_file;
  std::string tls_ca;  // of the scheduler's certificate; "system": the machine's; empty: no TLS
  std::string tls_cert, tls_key;  // of our own
};

// "~/.config/tiltshift/token", or below $XDG_CONFIG_HOME.
std::string DefaultTokenFile();

class Identity {
 public:
  // Nobody, without TLS.
  Identity() = default;

  // Reads all of it. InvalidArgument names the file and what is wrong: a token's must be readable
  // for its owner alone.
  static absl::StatusOr<Identity> Load(const IdentityOptions& options);

  // InvalidArgument where the token would be sent in the clear to another machine.
  absl::Status MayCall(const std::string& address) const;
  // ConnectTo (proto/channel.h), in TLS where this says so.
  std::shared_ptr<grpc::Channel> Connect(const std::string& address) const;
  // Of a call that is about to begin, to an address that may be called.
  void AddTo(grpc::ClientContext& context) const;

 private:
  std::string token_;
  std::shared_ptr<grpc::ChannelCredentials> tls_;  // null: none
};

}  // namespace tiltshift
