// The command line's words for a moderator, the same for every program that asks one.
#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <string>

#include "moderation/moderator.h"

namespace tiltshift::moderation {

// `what` it reviews for this program.
inline void AddModeratorFlags(CLI::App& app, const std::string& what, ModeratorOptions& options) {
  app.add_option("--moderate", options.who,
                 "who may veto " + what + ": command:CMD or grpc:HOST:PORT; docs/moderation.md");
  auto* ca = app.add_option("--moderate-ca", options.ca,
                            "file of the CA of a service's certificate: speak TLS with it");
  auto* cert = app.add_option("--moderate-cert", options.cert,
                              "file of our own certificate, where the service asks for one");
  auto* key = app.add_option("--moderate-key", options.key, "file of its private key");
  cert->needs(ca)->needs(key);
  key->needs(cert);
  app.add_option("--moderate-timeout-ms", options.timeout_ms, "how long an answer may take")
      ->capture_default_str()
      ->check(CLI::Range(1, 600'000));
  app.add_option("--moderate-failure", options.fail_open,
                 "without an answer: closed refuses, open allows")
      ->transform(
          CLI::CheckedTransformer(std::map<std::string, bool>{{"closed", false}, {"open", true}}))
      ->default_str("closed");
}

}  // namespace tiltshift::moderation
