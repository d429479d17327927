// C2PA content credentials (technical specification 2.2) put into a PNG: a manifest store of one
// manifest, in a chunk `caBX` before the pixels.
//
//   c2pa                      store
//   └ urn:c2pa:UUID           manifest; the UUID is computed from picture and certificate
//     ├ c2pa.assertions
//     │ ├ c2pa.actions.v2     c2pa.created, by a trained model
//     │ ├ cawg.metadata       the statement (provenance/metadata.h)
//     │ └ c2pa.hash.data      SHA-256 of the file without this chunk
//     ├ c2pa.claim.v2         names the assertions, each with its hash
//     └ c2pa.signature        COSE_Sign1 of the claim, EdDSA, with the certificates
//
// A function of picture, statement and signer alone: no time, no random number (I4).
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "provenance/signer.h"
#include "provenance/statement.h"

namespace tiltshift::provenance {

inline constexpr char kCredentialsChunk[] = "caBX";

// InvalidArgument: `png` is none, or has credentials.
absl::StatusOr<std::string> WithCredentials(std::string_view png, const Statement& statement,
                                            const Signer& signer);

// The file without its credentials, as it was signed. InvalidArgument, DataLoss: it is no whole
// PNG.
absl::StatusOr<std::string> WithoutCredentials(std::string_view png);

}  // namespace tiltshift::provenance
