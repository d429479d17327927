#include "worker/provenance.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace tiltshift::worker {
namespace {

constexpr char kMachineMade[] =
    "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia";

// As XML 1.0 has it in an element or an attribute; what it can't hold is left out.
std::string Escaped(std::string text) {
  text.erase(std::remove_if(
                 text.begin(), text.end(),
                 [](unsigned char c) { return c < 0x20 && c != '\t' && c != '\n' && c != '\r'; }),
             text.end());
  // U+FFFE and U+FFFF are no characters of XML either.
  return absl::StrReplaceAll(text, {{"&", "&amp;"},
                                    {"<", "&lt;"},
                                    {">", "&gt;"},
                                    {"\"", "&quot;"},
                                    {"\n", "&#10;"},
                                    {"\r", "&#13;"},
                                    {"\t", "&#9;"},
                                    {"\xef\xbf\xbe", ""},
                                    {"\xef\xbf\xbf", ""}});
}

std::string Attribute(const char* name, const std::string& value) {
  return value.empty() ? "" : absl::StrCat("\n    ", name, "=\"", Escaped(value), "\"");
}

bool IsAddress(const std::string& license) {
  return license.starts_with("https://") || license.starts_with("http://");
}

std::string Elements(const v1::OutputSettings& output) {
  std::string text;
  if (!output.owner().empty()) {
    absl::StrAppend(&text, "   <xmpRights:Owner><rdf:Bag><rdf:li>", Escaped(output.owner()),
                    "</rdf:li></rdf:Bag></xmpRights:Owner>\n");
  }
  if (!output.license().empty() && !IsAddress(output.license())) {
    absl::StrAppend(&text, "   <xmpRights:UsageTerms><rdf:Alt><rdf:li xml:lang=\"x-default\">",
                    Escaped(output.license()), "</rdf:li></rdf:Alt></xmpRights:UsageTerms>\n");
  }
  return text;
}

}  // namespace

std::string ProvenanceXmp(const v1::JobSpec& spec, const plan::Variant& variant,
                          const std::string& render_class) {
  const v1::OutputSettings& output = spec.output();
  const auto author = variant.parameters.find("author");
  std::string xmp =
      "<?xpacket begin=\"\xef\xbb\xbf\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n"
      "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\n"
      " <rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\n"
      "  <rdf:Description rdf:about=\"\"\n"
      "    xmlns:xmp=\"http://ns.adobe.com/xap/1.0/\"\n"
      "    xmlns:xmpRights=\"http://ns.adobe.com/xap/1.0/rights/\"\n"
      "    xmlns:Iptc4xmpExt=\"http://iptc.org/std/Iptc4xmpExt/2008-02-29/\"\n"
      "    xmlns:tiltshift=\"urn:x-tiltshift:1.0/\"";
  absl::StrAppend(
      &xmp, Attribute("xmp:CreatorTool", "Tiltshift"),
      Attribute("Iptc4xmpExt:DigitalSourceType", kMachineMade),
      Attribute("Iptc4xmpExt:AISystemUsed", absl::StrCat("Tiltshift, model ", spec.model())),
      Attribute("Iptc4xmpExt:AISystemVersionUsed", render_class));
  if (output.tell_prompt())
    absl::StrAppend(&xmp, Attribute("Iptc4xmpExt:AIPromptInformation", variant.prompt));
  if (output.tell_author() && author != variant.parameters.end())
    absl::StrAppend(&xmp, Attribute("Iptc4xmpExt:AIPromptWriterName", author->second));
  if (IsAddress(output.license()))
    absl::StrAppend(&xmp, Attribute("xmpRights:WebStatement", output.license()));
  absl::StrAppend(&xmp, Attribute("tiltshift:Job", spec.name()),
                  Attribute("tiltshift:Seed", absl::StrCat(variant.seed)), ">\n", Elements(output),
                  "  </rdf:Description>\n </rdf:RDF>\n</x:xmpmeta>\n<?xpacket end=\"r\"?>");
  return xmp;
}

}  // namespace tiltshift::worker
