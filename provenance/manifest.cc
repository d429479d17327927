#include "provenance/manifest.h"

#include <algorithm>

#include "absl/strings/cord.h"
#include "provenance/cbor.h"
#include "provenance/jumbf.h"
#include "provenance/metadata.h"

namespace tiltshift::provenance {
namespace {

constexpr char kAssertions[] = "c2pa.assertions", kDataHash[] = "c2pa.hash.data";
constexpr std::string_view kHere = "self#jumbf=";

absl::Status Bad(const char* code, const std::string& why) {
  absl::Status status = absl::InvalidArgumentError(why);
  status.SetPayload(kCodePayload, absl::Cord(code));
  return status;
}

// The last manifest is the one that speaks for the file.
absl::StatusOr<const ReadBox*> ActiveManifest(const ReadBox& store) {
  if (store.kind != "c2pa" || store.label != "c2pa" || store.boxes.empty())
    return Bad("claim.missing", "the credentials hold no manifest");
  const ReadBox& manifest = store.boxes.back();
  if (manifest.kind == "c2ma") return &manifest;
  return Bad("claim.missing",
             "the credentials' manifest is an update or compressed, which can't be read here");
}

const ReadBox* FindOf(const ReadBox& manifest, std::string_view kind, std::string_view label) {
  const ReadBox* box = manifest.Find(label);
  return box != nullptr && box->kind == kind ? box : nullptr;
}

// Adds one list of the claim's references.
absl::Status AddReferences(const Cbor& claim, const char* list, const ReadBox& store,
                           const std::string& manifest_path, Manifest& manifest) {
  for (const Cbor& reference : claim.ArrayAt(list)) {
    std::string url = reference.TextAt("url");
    const Cbor* hash = reference.Find("hash");
    const std::string algorithm = reference.TextAt("alg"), all = claim.TextAt("alg");
    if ((algorithm.empty() ? all : algorithm) != "sha256" || hash == nullptr ||
        !hash->is(Cbor::Kind::kBytes))
      return Bad("algorithm.unsupported", "a hash of the claim is not SHA-256");
    for (const std::string& before : {manifest_path + "/", std::string(kHere)}) {
      const std::string start = before + kAssertions + "/";
      if (!url.starts_with(start)) continue;
      url.erase(0, start.size());
      const ReadBox* box = store.Find(url);
      if (box == nullptr) break;
      manifest.assertions.push_back({url, hash->text, box->hashed});
      url.clear();
      break;
    }
    if (!url.empty())
      return Bad("assertion.missing", "the claim names an assertion that is not there");
  }
  return absl::OkStatus();
}

absl::Status CheckAllAreDeclared(const ReadBox& store, const Manifest& manifest) {
  for (const ReadBox& box : store.boxes) {
    const auto times = std::count_if(
        manifest.assertions.begin(), manifest.assertions.end(),
        [&](const Manifest::Reference& reference) { return reference.label == box.label; });
    if (times != 1)
      return Bad("assertion.undeclared",
                 absl::StrCat("the claim names the assertion ", std::string(box.label), " ", times,
                              " times"));
  }
  return absl::OkStatus();
}

absl::Status ReadDataHash(const ReadBox& store, Manifest& manifest) {
  for (const ReadBox& box : store.boxes)
    if (box.label.starts_with("c2pa.hash.") && box.label != kDataHash)
      return Bad("assertion.multipleHardBindings",
                 absl::StrCat("the file is bound by ", std::string(box.label),
                              ", which can't be read here"));
  const ReadBox* box = store.Find(kDataHash);
  if (box == nullptr) return Bad("claim.hardBindings.missing", "no hash binds the file");
  const auto data = Decode(box->Only("cbor"));
  if (!data.ok()) return Bad("assertion.cbor.invalid", Message(data.status()));
  const Cbor* hash = data->Find("hash");
  const std::vector<Cbor>& ranges = data->ArrayAt("exclusions");
  const Cbor* start = ranges.size() == 1 ? ranges[0].Find("start") : nullptr;
  const Cbor* length = ranges.size() == 1 ? ranges[0].Find("length") : nullptr;
  if (hash == nullptr || !hash->is(Cbor::Kind::kBytes) || start == nullptr || length == nullptr ||
      !start->is(Cbor::Kind::kUnsigned) || !length->is(Cbor::Kind::kUnsigned))
    return Bad("assertion.dataHash.malformed", "the file's hash must leave out one range");
  const std::string algorithm = data->TextAt("alg");
  if (!algorithm.empty() && algorithm != "sha256")
    return Bad("algorithm.unsupported", "the file's hash is not SHA-256");
  manifest.left_out_at = start->number;
  manifest.left_out_bytes = length->number;
  manifest.data_hash = hash->text;
  return absl::OkStatus();
}

absl::Status ReadActions(const ReadBox& store, Manifest& manifest) {
  for (const ReadBox& box : store.boxes) {
    if (!box.label.starts_with("c2pa.actions")) continue;
    const auto data = Decode(box.Only("cbor"));
    if (!data.ok()) return Bad("assertion.cbor.invalid", Message(data.status()));
    for (const Cbor& action : data->ArrayAt("actions")) {
      if (action.TextAt("action") != "c2pa.created") continue;
      const std::string source = action.TextAt("digitalSourceType");
      manifest.from_photo = source == kMadeFromPhoto;
      manifest.machine_made = manifest.from_photo || source == kMachineMade;
    }
  }
  return absl::OkStatus();
}

absl::Status ReadMetadata(const ReadBox& store, Manifest& manifest) {
  const ReadBox* box = store.Find(kMetadataLabel);
  if (box == nullptr) return absl::OkStatus();
  const auto statement = StatementOf(box->Only("json"));
  if (!statement.ok()) return Bad("assertion.json.invalid", Message(statement.status()));
  manifest.statement = *statement;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Manifest> ReadManifest(std::string_view bytes) {
  TS_ASSIGN_OR_RETURN(const ReadBox store, ReadSuperbox(bytes));
  TS_ASSIGN_OR_RETURN(const ReadBox* active, ActiveManifest(store));
  const ReadBox* assertions = FindOf(*active, "c2as", kAssertions);
  const ReadBox* claim_box = FindOf(*active, "c2cl", "c2pa.claim.v2");
  const ReadBox* signature = FindOf(*active, "c2cs", "c2pa.signature");
  if (claim_box == nullptr)
    return Bad("claim.missing",
               active->Find("c2pa.claim") == nullptr
                   ? "the credentials make no claim"
                   : "the credentials' claim is of version 1, which can't be read here");
  if (signature == nullptr) return Bad("claimSignature.missing", "the claim is not signed");
  if (assertions == nullptr) return Bad("assertion.missing", "the credentials assert nothing");

  Manifest manifest;
  manifest.claim = claim_box->Only("cbor");
  const auto claim = Decode(manifest.claim);
  if (!claim.ok()) return Bad("claim.cbor.invalid", Message(claim.status()));
  const std::string path = absl::StrCat(std::string(kHere), "/c2pa/", std::string(active->label));
  const std::string signed_by = claim->TextAt("signature");
  if (signed_by != path + "/c2pa.signature" && signed_by != std::string(kHere) + "c2pa.signature")
    return Bad("claimSignature.missing", "the claim's signature is elsewhere");
  TS_ASSIGN_OR_RETURN(manifest.cose, DecodeCose(signature->Only("cbor")));
  for (const char* list : {"created_assertions", "gathered_assertions"})
    TS_RETURN_IF_ERROR(AddReferences(*claim, list, *assertions, path, manifest));
  TS_RETURN_IF_ERROR(CheckAllAreDeclared(*assertions, manifest));
  TS_RETURN_IF_ERROR(ReadDataHash(*assertions, manifest));
  TS_RETURN_IF_ERROR(ReadActions(*assertions, manifest));
  TS_RETURN_IF_ERROR(ReadMetadata(*assertions, manifest));
  if (const Cbor* generator = claim->Find("claim_generator_info"))
    manifest.generator = generator->TextAt("name");
  if (manifest.generator.empty() || claim->TextAt("instanceID").empty())
    return Bad("claim.malformed", "the claim does not say what made it");
  return manifest;
}

}  // namespace tiltshift::provenance
