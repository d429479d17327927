// COSE_Sign1 (RFC 9052), as C2PA uses it: the payload is elsewhere, certificates are in the
// protected header (RFC 9360).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace tiltshift::provenance {

// Algorithms (RFC 9053): ours, and the one that most cameras and programs sign with.
inline constexpr int64_t kEdDsa = -8, kEs256 = -7;

struct CoseSign1 {
  std::string protected_header;  // encoded: what the signature is over, with the payload
  int64_t algorithm = 0;
  std::vector<std::string> chain;  // DER, the signer's own first
  std::string signature;
};

// The protected header of `chain` and EdDSA.
std::string ProtectedHeader(const std::vector<std::string>& chain);

// What is signed.
std::string SignatureInput(std::string_view protected_header, std::string_view payload);

std::string EncodeCose(std::string_view protected_header, std::string_view signature);

// Anybody's bytes. InvalidArgument: not such a structure, or without a certificate.
absl::StatusOr<CoseSign1> DecodeCose(std::string_view bytes);

}  // namespace tiltshift::provenance
