#include "provenance/credentials.h"

#include <vector>

#include "absl/strings/escaping.h"
#include "base/check.h"
#include "base/hash.h"
#include "picture/png_chunk.h"
#include "provenance/cbor.h"
#include "provenance/certificate.h"
#include "provenance/cose.h"
#include "provenance/jumbf.h"
#include "provenance/metadata.h"

namespace tiltshift::provenance {
namespace {

constexpr size_t kBoxHead = 8;
constexpr size_t kChunkAround = 12;
constexpr size_t kSignatureBytes = 64;

std::string Sha256Bytes(std::string_view bytes) {
  return std::string(absl::HexStringToBytes(Sha256Hex(bytes)));
}

// A UUID of version 4 in form, whose bits are those of a hash.
std::string UuidOf(const std::string& what) {
  std::string hex = Sha256Hex(what).substr(0, 32);
  hex[12] = '4';
  hex[16] = "89ab"[static_cast<unsigned char>(hex[16]) % 4];
  for (const size_t at : {20, 16, 12, 8}) hex.insert(at, "-");
  return hex;
}

struct Assertion {
  std::string label, box;
};

Assertion Actions(const Statement& statement) {
  const Cbor created =
      Cbor::Map({Cbor::Text("action"), Cbor::Text("c2pa.created"), Cbor::Text("digitalSourceType"),
                 Cbor::Text(SourceTypeOf(statement))});
  const std::string label = "c2pa.actions.v2";
  const Cbor actions = Cbor::Map({Cbor::Text("actions"), Cbor::Array({created})});
  return {label, Superbox("cbor", label, Box("cbor", Encode(actions)))};
}

Assertion Metadata(const Statement& statement) {
  return {kMetadataLabel, Superbox("json", kMetadataLabel, Box("json", MetadataOf(statement)))};
}

// `chunk_size`: that of the chunk that the picture will have more, and that the hash leaves out. In
// four bytes whatever it is, so that it may be filled in later.
Assertion DataHash(const std::string& hash, size_t chunk_size) {
  Cbor length = Cbor::Unsigned(chunk_size);
  length.four_bytes = true;
  const Cbor range = Cbor::Map({Cbor::Text("start"), Cbor::Unsigned(picture::kAfterPngHeader),
                                Cbor::Text("length"), length});
  const std::string label = "c2pa.hash.data";
  const Cbor data =
      Cbor::Map({Cbor::Text("exclusions"), Cbor::Array({range}), Cbor::Text("name"),
                 Cbor::Text("the credentials' chunk"), Cbor::Text("alg"), Cbor::Text("sha256"),
                 Cbor::Text("hash"), Cbor::Bytes(hash), Cbor::Text("pad"), Cbor::Bytes("")});
  return {label, Superbox("cbor", label, Box("cbor", Encode(data)))};
}

std::string Claim(const std::string& manifest, const std::string& instance,
                  const std::vector<Assertion>& assertions) {
  std::vector<Cbor> references;
  for (const Assertion& assertion : assertions) {
    references.push_back(
        Cbor::Map({Cbor::Text("url"), Cbor::Text("self#jumbf=c2pa.assertions/" + assertion.label),
                   Cbor::Text("hash"),
                   Cbor::Bytes(Sha256Bytes(std::string_view(assertion.box).substr(kBoxHead)))}));
  }
  return Encode(
      Cbor::Map({Cbor::Text("instanceID"), Cbor::Text("xmp:iid:" + instance),
                 Cbor::Text("claim_generator_info"),
                 Cbor::Map({Cbor::Text("name"), Cbor::Text("Tiltshift")}), Cbor::Text("signature"),
                 Cbor::Text(absl::StrCat("self#jumbf=/c2pa/", manifest, "/c2pa.signature")),
                 Cbor::Text("created_assertions"), Cbor::Array(std::move(references)),
                 Cbor::Text("alg"), Cbor::Text("sha256")}));
}

}  // namespace

absl::StatusOr<std::string> WithCredentials(std::string_view png, const Statement& statement,
                                            const Signer& signer) {
  TS_ASSIGN_OR_RETURN(const auto chunks, picture::PngChunks(png));
  for (const picture::PngChunk& chunk : chunks)
    if (chunk.type == kCredentialsChunk)
      return absl::InvalidArgumentError("the picture has content credentials already");
  const std::string hash = Sha256Bytes(png), header = ProtectedHeader(signer.chain());
  const std::string seed = absl::StrCat("tiltshift credentials 1\n", hash, header);
  const std::string manifest = "urn:c2pa:" + UuidOf(seed + "manifest");
  const std::string instance = UuidOf(seed + "instance");

  const auto claim_for = [&](const std::vector<Assertion>& assertions) {
    return Claim(manifest, instance, assertions);
  };
  const auto store_of = [&](const std::vector<Assertion>& assertions, const std::string& claim,
                            const std::string& signature) {
    std::string all;
    for (const Assertion& assertion : assertions) all += assertion.box;
    return Superbox("c2pa", "c2pa",
                    Superbox("c2ma", manifest,
                             Superbox("c2as", "c2pa.assertions", all) +
                                 Superbox("c2cl", "c2pa.claim.v2", Box("cbor", claim)) +
                                 Superbox("c2cs", "c2pa.signature",
                                          Box("cbor", EncodeCose(header, signature)))));
  };
  std::vector<Assertion> assertions = {Actions(statement), Metadata(statement), DataHash(hash, 0)};
  const size_t size =
      store_of(assertions, claim_for(assertions), std::string(kSignatureBytes, '\0')).size();
  assertions.back() = DataHash(hash, size + kChunkAround);
  const std::string claim = claim_for(assertions);
  TS_ASSIGN_OR_RETURN(const std::string signature, signer.Sign(SignatureInput(header, claim)));
  const std::string store = store_of(assertions, claim, signature);
  TS_CHECK(store.size() == size);
  return picture::WithChunk(png, kCredentialsChunk, store);
}

absl::StatusOr<std::string> WithoutCredentials(std::string_view png) {
  TS_ASSIGN_OR_RETURN(const auto chunks, picture::PngChunks(png));
  std::string left(png);
  for (auto chunk = chunks.rbegin(); chunk != chunks.rend(); ++chunk)
    if (chunk->type == kCredentialsChunk) left.erase(chunk->offset, chunk->size());
  return left;
}

}  // namespace tiltshift::provenance
