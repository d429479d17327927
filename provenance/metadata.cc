#include "provenance/metadata.h"

#include <nlohmann/json.hpp>

namespace tiltshift::provenance {
namespace {

using nlohmann::json;

void Add(json& metadata, const char* name, const std::string& value) {
  if (!value.empty()) metadata[name] = value;
}

std::string TextAt(const json& metadata, const char* name) {
  const auto found = metadata.find(name);
  return found != metadata.end() && found->is_string() ? found->get<std::string>() : "";
}

std::string OwnerOf(const json& metadata) {
  const auto found = metadata.find("xmpRights:Owner");
  const bool is_list = found != metadata.end() && found->is_array() && found->size() == 1;
  return is_list && (*found)[0].is_string() ? (*found)[0].get<std::string>() : "";
}

std::string LicenseOf(const json& metadata) {
  const auto terms = metadata.find("xmpRights:UsageTerms");
  if (terms != metadata.end() && terms->is_object()) return TextAt(*terms, "@value");
  return TextAt(metadata, "xmpRights:WebStatement");
}

}  // namespace

std::string MetadataOf(const Statement& statement) {
  json metadata = {
      {"@context",
       {{"Iptc4xmpExt", "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"},
        {"xmp", "http://ns.adobe.com/xap/1.0/"},
        {"xmpRights", "http://ns.adobe.com/xap/1.0/rights/"},
        {"tiltshift", kOurNamespace}}},
      {"xmp:CreatorTool", "Tiltshift"},
      {"Iptc4xmpExt:DigitalSourceType", SourceTypeOf(statement)},
      {"Iptc4xmpExt:AISystemUsed", "Tiltshift, model " + statement.model},
      {"tiltshift:Model", statement.model},
  };
  Add(metadata, "Iptc4xmpExt:AISystemVersionUsed", statement.render_class);
  Add(metadata, "Iptc4xmpExt:AIPromptInformation", statement.prompt);
  Add(metadata, "Iptc4xmpExt:AIPromptWriterName", statement.author);
  Add(metadata, "tiltshift:Job", statement.job);
  Add(metadata, "tiltshift:Seed", statement.seed);
  if (!statement.owner.empty()) metadata["xmpRights:Owner"] = json::array({statement.owner});
  if (IsAddress(statement.license)) {
    metadata["xmpRights:WebStatement"] = statement.license;
  } else if (!statement.license.empty()) {
    metadata["xmpRights:UsageTerms"] = {{"@language", "x-default"}, {"@value", statement.license}};
  }
  return metadata.dump(-1, ' ', false, json::error_handler_t::replace);
}

absl::StatusOr<Statement> StatementOf(std::string_view text) {
  const json metadata = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!metadata.is_object()) return absl::InvalidArgumentError("metadata that is no JSON object");
  return Statement{
      .from_photo = TextAt(metadata, "Iptc4xmpExt:DigitalSourceType") == kMadeFromPhoto,
      .model = TextAt(metadata, "tiltshift:Model"),
      .render_class = TextAt(metadata, "Iptc4xmpExt:AISystemVersionUsed"),
      .job = TextAt(metadata, "tiltshift:Job"),
      .seed = TextAt(metadata, "tiltshift:Seed"),
      .owner = OwnerOf(metadata),
      .license = LicenseOf(metadata),
      .prompt = TextAt(metadata, "Iptc4xmpExt:AIPromptInformation"),
      .author = TextAt(metadata, "Iptc4xmpExt:AIPromptWriterName"),
  };
}

}  // namespace tiltshift::provenance
