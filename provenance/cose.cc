#include "provenance/cose.h"

#include "provenance/cbor.h"

namespace tiltshift::provenance {
namespace {

constexpr uint64_t kSign1Tag = 18;
constexpr int64_t kAlgorithm = 1, kX5chain = 33;

absl::Status Bad(const std::string& why) {
  return absl::InvalidArgumentError("the claim's signature can't be read: " + why);
}

absl::StatusOr<std::vector<std::string>> ChainOf(const Cbor& header) {
  const Cbor* found = header.Find(kX5chain);
  if (found == nullptr) return Bad("no certificate in its protected header");
  std::vector<std::string> chain;
  if (found->is(Cbor::Kind::kBytes)) chain.push_back(found->text);
  if (found->is(Cbor::Kind::kArray)) {
    for (const Cbor& item : found->items) {
      if (!item.is(Cbor::Kind::kBytes)) return Bad("a certificate that is no bytes");
      chain.push_back(item.text);
    }
  }
  if (chain.empty()) return Bad("no certificate");
  return chain;
}

}  // namespace

std::string ProtectedHeader(const std::vector<std::string>& chain) {
  std::vector<Cbor> certificates;
  for (const std::string& certificate : chain) certificates.push_back(Cbor::Bytes(certificate));
  Cbor x5chain = certificates.size() == 1 ? certificates[0] : Cbor::Array(certificates);
  return Encode(Cbor::Map({Cbor::Unsigned(kAlgorithm), Cbor::Negative(kEdDsa),
                           Cbor::Unsigned(kX5chain), std::move(x5chain)}));
}

std::string SignatureInput(std::string_view protected_header, std::string_view payload) {
  return Encode(Cbor::Array({Cbor::Text("Signature1"), Cbor::Bytes(std::string(protected_header)),
                             Cbor::Bytes(""), Cbor::Bytes(std::string(payload))}));
}

std::string EncodeCose(std::string_view protected_header, std::string_view signature) {
  return Encode(
      Cbor::Tag(kSign1Tag, Cbor::Array({Cbor::Bytes(std::string(protected_header)), Cbor::Map({}),
                                        Cbor::Null(), Cbor::Bytes(std::string(signature))})));
}

absl::StatusOr<CoseSign1> DecodeCose(std::string_view bytes) {
  TS_ASSIGN_OR_RETURN(const Cbor tagged, Decode(bytes));
  if (!tagged.is(Cbor::Kind::kTag) || tagged.number != kSign1Tag) return Bad("no COSE_Sign1");
  const Cbor& sign1 = tagged.items[0];
  if (!sign1.is(Cbor::Kind::kArray) || sign1.items.size() != 4 ||
      !sign1.items[0].is(Cbor::Kind::kBytes) || !sign1.items[1].is(Cbor::Kind::kMap) ||
      !sign1.items[3].is(Cbor::Kind::kBytes))
    return Bad("no COSE_Sign1");
  if (!sign1.items[2].is_null()) return Bad("it brings a claim of its own");
  // Who signs would otherwise be open to choice.
  if (sign1.items[1].Find(kX5chain) != nullptr || sign1.items[1].Find(kAlgorithm) != nullptr)
    return Bad("its unprotected header names a certificate or an algorithm");
  CoseSign1 cose;
  cose.protected_header = sign1.items[0].text;
  cose.signature = sign1.items[3].text;
  TS_ASSIGN_OR_RETURN(const Cbor header, Decode(cose.protected_header));
  const Cbor* algorithm = header.Find(kAlgorithm);
  if (algorithm == nullptr || !algorithm->is(Cbor::Kind::kNegative) || algorithm->number > 1'000)
    return Bad("no algorithm that is known");
  cose.algorithm = -1 - static_cast<int64_t>(algorithm->number);
  TS_ASSIGN_OR_RETURN(cose.chain, ChainOf(header));
  return cose;
}

}  // namespace tiltshift::provenance
