#include "scheduler/security.h"

#include "absl/strings/match.h"
#include "proto/channel.h"
#include "proto/tls_files.h"

namespace tiltshift::scheduler {

void AddSecurityFlags(CLI::App& app, SecurityOptions& options) {
  app.add_option("--auth", options.auth,
                 "on: every call needs a token (docs/security.md); off: none does, and only this "
                 "machine is served")
      ->check(CLI::IsMember({"on", "off"}))
      ->capture_default_str();
  app.add_option("--first-token", options.first_token,
                 "file that a token which may operate the farm is written to, for its owner alone, "
                 "where there is none yet");
  app.add_option("--audit-log", options.audit_log,
                 "file that every call that changes something, and every one that is refused, is "
                 "written to as a line of JSON; opened anew on SIGHUP");
  auto* cert = app.add_option("--tls-cert", options.tls_cert,
                              "file of this server's certificate and those that signed it, PEM: "
                              "clients must speak TLS then");
  auto* key = app.add_option("--tls-key", options.tls_key, "file of its private key");
  cert->needs(key);
  key->needs(cert);
  app.add_option("--tls-client-ca", options.tls_client_ca,
                 "file of the CA whose certificates workers must show (mutual TLS)")
      ->needs(cert);
}

absl::Status CheckListen(const std::string& listen, const std::string& metrics,
                         const SecurityOptions& options) {
  TS_RETURN_IF_ERROR(CheckMetricsAddress(metrics));
  if (options.has_tls() && !options.asks_callers())
    return absl::InvalidArgumentError(
        "--tls-cert without --auth on: nobody would be asked who they are");
  if (!options.first_token.empty() && !options.asks_callers())
    return absl::InvalidArgumentError("--first-token without --auth on: no token is asked for");
  if (IsLoopback(listen) || (options.asks_callers() && options.has_tls())) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "--listen ", listen, ": beyond this machine callers must give a token, over TLS: add ",
      options.asks_callers() ? "" : "--auth on, ",
      "--tls-cert and --tls-key, or listen on 127.0.0.1:PORT or unix:PATH (docs/security.md)"));
}

absl::Status CheckGallery(const std::string& address, const SecurityOptions& options) {
  if (address.empty() || (options.asks_callers() && options.has_tls())) return absl::OkStatus();
  if (IsLoopback(address) && !absl::StartsWith(address, "unix:")) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "--gallery ", address, ": beyond this machine visitors must give a token, over TLS: add ",
      options.asks_callers() ? "" : "--auth on, ",
      "--tls-cert and --tls-key, or show it on 127.0.0.1:PORT (docs/security.md)"));
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> CredentialsOf(
    const SecurityOptions& options) {
  if (!options.has_tls()) return grpc::InsecureServerCredentials();
  // Others than workers need not show a certificate.
  return ServerTls({options.tls_client_ca, options.tls_cert, options.tls_key});
}

}  // namespace tiltshift::scheduler
