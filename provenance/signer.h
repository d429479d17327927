// Who signs content credentials: a certificate, those between it and its CA, and its private key.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace tiltshift::provenance {

class Signer {
 public:
  // From PEM files, which may be one file. InvalidArgument names the file and what is wrong: the
  // key is not of Ed25519 (whose signatures, unlike ECDSA's, are the same each time: I4), it is not
  // the certificate's, or the certificate is not one that C2PA takes.
  static absl::StatusOr<std::shared_ptr<const Signer>> Load(const std::string& certificate_file,
                                                            const std::string& key_file);
  static absl::StatusOr<std::shared_ptr<const Signer>> FromPem(std::string_view certificates,
                                                               std::string_view key);
  ~Signer();

  // In DER, the signer's own first; without the CA's own, which who reads must have.
  const std::vector<std::string>& chain() const { return chain_; }
  // 64 bytes, the same for the same message. From any thread.
  absl::StatusOr<std::string> Sign(std::string_view message) const;

 private:
  struct Key;
  Signer(std::vector<std::string> chain, std::unique_ptr<Key> key);

  const std::vector<std::string> chain_;
  const std::unique_ptr<const Key> key_;
};

}  // namespace tiltshift::provenance
