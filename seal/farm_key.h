// The one secret of a farm: 32 random bytes, 64 hex digits where they are kept. It wraps the keys
// of photos, so that whoever has the blob store alone can open none, and signs receipts.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "seal/secret.h"

namespace tiltshift::seal {

class FarmKey {
 public:
  // `where`: "file:PATH", a file that its owner alone may read; "env:NAME", a variable, which is
  // taken out of this process' environment; "command:CMD", what a shell command prints: for a KMS.
  // InvalidArgument says which of them, and what is wrong.
  static absl::StatusOr<FarmKey> Load(const std::string& where);
  // Of 64 hex digits, with white space around them.
  static absl::StatusOr<FarmKey> OfHex(std::string_view hex, const std::string& what);
  // A new one's digits.
  static std::string RandomHexKey();

  // Which it is, 16 hex digits; it stands in what it wrapped.
  const std::string& id() const { return id_; }

  // A photo's key, encrypted (XChaCha20-Poly1305) for the photo called `name`.
  std::string Wrap(const Secret& photo_key, std::string_view name) const;
  // FailedPrecondition: another farm key wrapped it, named. DataLoss: damaged.
  absl::StatusOr<Secret> Unwrap(std::string_view wrapped, std::string_view name) const;

  // Ed25519. The signing key follows from the farm's.
  std::string Sign(std::string_view text) const;             // 128 hex digits
  const std::string& public_key() const { return public_; }  // 64 hex digits

 private:
  explicit FarmKey(Secret key);
  Secret wrapping_, signing_;
  std::string id_, public_;
};

// Whether `signature` is that of `text` by who has `public_key`; both in hex.
bool IsSigned(std::string_view text, std::string_view signature, std::string_view public_key);

}  // namespace tiltshift::seal
