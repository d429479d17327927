// Whether a picture is what was signed, by whom, and what it says of itself. Any bytes may be
// given.
//
// Checked, after the C2PA technical specification 2.2, chapter 15: the chunks and their checksums;
// one manifest store, whole and with nothing beside it; the claim's signature; the certificate's
// profile and who vouches for it; the hash of every assertion, and that none is undeclared; the
// hash of everything in the file but the credentials. Not read: claims of version 1, credentials
// that refer to other manifests (ingredients), signatures other than EdDSA's and ES256's,
// other hashes than SHA-256.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "provenance/statement.h"

namespace tiltshift::provenance {

enum class Finding {
  kSigned,      // it is what was signed, by someone who is trusted
  kUntrusted,   // it is what was signed, by someone whom no given CA vouches for
  kChanged,     // it is not what was signed
  kNone,        // it carries no content credentials
  kUnreadable,  // no PNG, cut off, damaged, or credentials that this program can't read
};

// "signed", "untrusted", ...
const char* NameOf(Finding finding);

struct Verdict {
  Finding finding = Finding::kUnreadable;
  std::string code;  // C2PA's status code, where it has one for what was found
  std::string why;   // in words; empty for kSigned
  // The rest is known for kSigned and kUntrusted, and vouched for by the signer.
  std::string signer, fingerprint;  // of its certificate
  std::string generator;
  bool machine_made = false;  // by a trained model
  bool from_photo = false;    // of a photo
  Statement statement;
};

// `anchors`: certificates, in DER, of the CAs that are trusted.
Verdict Verify(std::string_view png, const std::vector<std::string>& anchors);

}  // namespace tiltshift::provenance
