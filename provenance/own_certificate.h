// A certificate that a farm makes for itself where it was given none: a CA that nobody else knows
// and one certificate of it, made once and kept in a folder.
//
//   signer.pem  private key and certificate; only its owner may read it
//   ca.pem      the CA's certificate: what others need, to trust this farm's pictures; where
//   signer.pem
//               was deleted and made anew, a second one after it
//
// The CA's private key is thrown away at once: nothing else can be signed with it. Both are valid
// for 20 years, because a reader holds a picture that carries no time stamp against today.
#pragma once

#include <string>

#include "base/status.h"

namespace tiltshift::provenance {

struct OwnCertificate {
  std::string signer_file, ca_file;
};

// $XDG_STATE_HOME/tiltshift/certificate, ~/.local/state/tiltshift/certificate without that.
// FailedPrecondition: neither is set.
absl::StatusOr<std::string> OwnCertificateFolder();

// Its files, made where they are missing. From several processes at once, one makes them.
absl::StatusOr<OwnCertificate> MakeOwnCertificate(const std::string& folder);

}  // namespace tiltshift::provenance
