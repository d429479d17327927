// X.509 certificates, as C2PA asks for them of who signs (specification 2.2, 14.5). Certificates
// are DER here.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace tiltshift::provenance {

// Those of a PEM text, in its order; other blocks are left out. InvalidArgument: none, or damaged.
absl::StatusOr<std::vector<std::string>> CertificatesOf(std::string_view pem);

// The subject's common name, or what else it has; "nobody" where it has no name.
std::string NameOf(const std::string& certificate);

// SHA-256 of it, in hex: what tells it from every other.
std::string FingerprintOf(const std::string& certificate);

bool IsSelfSigned(const std::string& certificate);

// OK where it may sign content credentials: no CA's own, key usage digitalSignature, extended key
// usage for mail, documents or C2PA and not for everything. InvalidArgument says what is wrong.
absl::Status CheckSigningProfile(const std::string& certificate);

// OK where the first of `chain` is vouched for, over the others, by one of `anchors`, today.
// PermissionDenied says why not.
absl::Status CheckTrust(const std::vector<std::string>& chain,
                        const std::vector<std::string>& anchors);

// The algorithm of COSE that the certificate's key signs with: kEdDsa (Ed25519), kEs256 (ECDSA over
// P-256, with SHA-256), or 0 for any other.
int64_t AlgorithmOf(const std::string& certificate);

// OK where `signature`, in COSE's form, is that of `message` with the certificate's key. DataLoss:
// it is not. Unimplemented: its key is of a kind that can't be checked.
absl::Status CheckSignature(const std::string& certificate, std::string_view message,
                            std::string_view signature);

}  // namespace tiltshift::provenance
