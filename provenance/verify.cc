#include "provenance/verify.h"

#include "absl/strings/cord.h"
#include "absl/strings/escaping.h"
#include "base/hash.h"
#include "picture/png_chunk.h"
#include "provenance/certificate.h"
#include "provenance/credentials.h"
#include "provenance/manifest.h"

namespace tiltshift::provenance {
namespace {

Verdict Not(Finding finding, const char* code, const std::string& why) {
  return {.finding = finding, .code = code, .why = why};
}

Verdict Unreadable(const absl::Status& status) {
  const auto code = status.GetPayload(kCodePayload);
  return Not(Finding::kUnreadable, code ? std::string(*code).c_str() : "", Message(status));
}

bool IsHash(const std::string& hash, Sha256& sha) {
  return absl::BytesToHexString(hash) == sha.Hex();
}

bool IsHashOf(const std::string& hash, std::string_view bytes) {
  Sha256 sha;
  sha.Update(bytes);
  return IsHash(hash, sha);
}

// What the signature and the hashes say; kSigned where all fit.
Verdict CheckBindings(std::string_view png, const picture::PngChunk& chunk,
                      const Manifest& manifest) {
  const CoseSign1& cose = manifest.cose;
  if (cose.algorithm != kEdDsa && cose.algorithm != kEs256)
    return Not(
        Finding::kUnreadable, "algorithm.unsupported",
        "the claim's signature is neither EdDSA nor ES256, the kinds that can be checked here");
  if (const int64_t key = AlgorithmOf(cose.chain[0]); key != 0 && key != cose.algorithm)
    return Not(Finding::kChanged, "claimSignature.mismatch",
               "its credentials name another kind of signature than its signer's key makes");
  const absl::Status signature = CheckSignature(
      cose.chain[0], SignatureInput(cose.protected_header, manifest.claim), cose.signature);
  if (absl::IsUnimplemented(signature))
    return Not(Finding::kUnreadable, "algorithm.unsupported", Message(signature));
  if (!signature.ok())
    return Not(Finding::kChanged, "claimSignature.mismatch",
               "its credentials were changed since they were signed");
  for (const Manifest::Reference& assertion : manifest.assertions)
    if (!IsHashOf(assertion.hash, assertion.hashed))
      return Not(Finding::kChanged, "assertion.hashedURI.mismatch",
                 absl::StrCat("what its credentials say in ", assertion.label,
                              " was changed since it was signed"));
  if (manifest.left_out_at != chunk.offset || manifest.left_out_bytes != chunk.size())
    return Not(Finding::kChanged, "assertion.dataHash.mismatch",
               "its credentials are not where they were when it was signed");
  Sha256 sha;
  sha.Update(png.substr(0, chunk.offset));
  sha.Update(png.substr(chunk.offset + chunk.size()));
  if (!IsHash(manifest.data_hash, sha))
    return Not(Finding::kChanged, "assertion.dataHash.mismatch",
               "its pixels, or what else is in the file, were changed since it was signed");
  return {.finding = Finding::kSigned};
}

Verdict CheckSigner(const Manifest& manifest, const std::vector<std::string>& anchors) {
  const std::vector<std::string>& chain = manifest.cose.chain;
  const std::string name = NameOf(chain[0]);
  const absl::Status profile = CheckSigningProfile(chain[0]);
  if (!profile.ok())
    return Not(Finding::kUntrusted, "signingCredential.invalid",
               absl::StrCat(name, " signed it: ", Message(profile)));
  const absl::Status trust = CheckTrust(chain, anchors);
  if (!trust.ok())
    return Not(
        Finding::kUntrusted, "signingCredential.untrusted",
        absl::StrCat(name, " signed it, and none of the trusted certificates vouches for it (",
                     Message(trust), ")"));
  return {.finding = Finding::kSigned};
}

}  // namespace

const char* NameOf(Finding finding) {
  switch (finding) {
    case Finding::kSigned:
      return "signed";
    case Finding::kUntrusted:
      return "untrusted";
    case Finding::kChanged:
      return "changed";
    case Finding::kNone:
      return "none";
    case Finding::kUnreadable:
      break;
  }
  return "unreadable";
}

Verdict Verify(std::string_view png, const std::vector<std::string>& anchors) {
  const auto chunks = picture::PngChunks(png);
  if (!chunks.ok()) return Unreadable(chunks.status());
  const picture::PngChunk* found = nullptr;
  for (const picture::PngChunk& chunk : *chunks) {
    if (chunk.type != kCredentialsChunk) continue;
    if (found != nullptr)
      return Not(Finding::kUnreadable, "manifest.multipleManifests", "it has credentials twice");
    found = &chunk;
  }
  if (found == nullptr)
    return Not(Finding::kNone, "",
               "it carries no content credentials: none were made, or they were removed");
  const auto manifest = ReadManifest(found->data);
  if (!manifest.ok()) return Unreadable(manifest.status());
  Verdict verdict = CheckBindings(png, *found, *manifest);
  if (verdict.finding != Finding::kSigned) return verdict;
  verdict = CheckSigner(*manifest, anchors);
  verdict.signer = NameOf(manifest->cose.chain[0]);
  verdict.fingerprint = FingerprintOf(manifest->cose.chain[0]);
  verdict.generator = manifest->generator;
  verdict.machine_made = manifest->machine_made;
  verdict.from_photo = manifest->from_photo;
  verdict.statement = manifest->statement;
  return verdict;
}

}  // namespace tiltshift::provenance
