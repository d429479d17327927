// Who may reach a scheduler and how: its command line's words, and what follows from them.
#pragma once

#include <grpcpp/security/server_credentials.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "base/status.h"

namespace tiltshift::scheduler {

struct SecurityOptions {
  std::string auth = "off";
  std::string first_token, audit_log;
  std::string tls_cert, tls_key, tls_client_ca;

  bool asks_callers() const { return auth == "on"; }
  bool has_tls() const { return !tls_cert.empty(); }
};

void AddSecurityFlags(CLI::App& app, SecurityOptions& options);

// InvalidArgument where `listen` may not be served so: beyond this machine callers must be asked
// who they are (I7), and what they answer must not be read on the way. Metrics have neither.
absl::Status CheckListen(const std::string& listen, const std::string& metrics,
                         const SecurityOptions& options);

// As CheckListen, of where the gallery is shown; empty: it is not.
absl::Status CheckGallery(const std::string& address, const SecurityOptions& options);

// Of the server: TLS where it has a certificate. InvalidArgument names the file that can't be used.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> CredentialsOf(
    const SecurityOptions& options);

}  // namespace tiltshift::scheduler
