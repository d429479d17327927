// The command line's words for who a client is, the same for every program that calls a scheduler.
#pragma once

#include <CLI/CLI.hpp>

#include "proto/identity.h"

namespace tiltshift {

inline void AddIdentityFlags(CLI::App& app, IdentityOptions& options) {
  app.add_option(
         "--token-file", options.token_file,
         "file of the token to call with, for its owner alone (chmod 600), or none; default: "
         "TILTSHIFT_TOKEN, else ~/.config/tiltshift/token")
      ->envname("TILTSHIFT_TOKEN_FILE");
  app.add_option("--tls-ca", options.tls_ca,
                 "speak TLS: file of the CA of the scheduler's certificate; system: the machine's")
      ->envname("TILTSHIFT_TLS_CA");
  app.add_option("--tls-cert", options.tls_cert, "file of our own certificate, for mutual TLS")
      ->envname("TILTSHIFT_TLS_CERT");
  app.add_option("--tls-key", options.tls_key, "file of its private key")
      ->envname("TILTSHIFT_TLS_KEY");
}

}  // namespace tiltshift
