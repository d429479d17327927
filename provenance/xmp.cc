#include "provenance/xmp.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace tiltshift::provenance {
namespace {

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

std::string Elements(const Statement& statement) {
  std::string text;
  if (!statement.owner.empty()) {
    absl::StrAppend(&text, "   <xmpRights:Owner><rdf:Bag><rdf:li>", Escaped(statement.owner),
                    "</rdf:li></rdf:Bag></xmpRights:Owner>\n");
  }
  if (!statement.license.empty() && !IsAddress(statement.license)) {
    absl::StrAppend(&text, "   <xmpRights:UsageTerms><rdf:Alt><rdf:li xml:lang=\"x-default\">",
                    Escaped(statement.license), "</rdf:li></rdf:Alt></xmpRights:UsageTerms>\n");
  }
  return text;
}

}  // namespace

std::string XmpOf(const Statement& statement) {
  std::string xmp =
      "<?xpacket begin=\"\xef\xbb\xbf\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n"
      "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\n"
      " <rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\n"
      "  <rdf:Description rdf:about=\"\"\n"
      "    xmlns:xmp=\"http://ns.adobe.com/xap/1.0/\"\n"
      "    xmlns:xmpRights=\"http://ns.adobe.com/xap/1.0/rights/\"\n"
      "    xmlns:Iptc4xmpExt=\"http://iptc.org/std/Iptc4xmpExt/2008-02-29/\"\n"
      "    xmlns:tiltshift=\"";
  absl::StrAppend(
      &xmp, kOurNamespace, "\"", Attribute("xmp:CreatorTool", "Tiltshift"),
      Attribute("Iptc4xmpExt:DigitalSourceType", SourceTypeOf(statement)),
      Attribute("Iptc4xmpExt:AISystemUsed", absl::StrCat("Tiltshift, model ", statement.model)),
      Attribute("Iptc4xmpExt:AISystemVersionUsed", statement.render_class),
      Attribute("Iptc4xmpExt:AIPromptInformation", statement.prompt),
      Attribute("Iptc4xmpExt:AIPromptWriterName", statement.author));
  if (IsAddress(statement.license))
    absl::StrAppend(&xmp, Attribute("xmpRights:WebStatement", statement.license));
  absl::StrAppend(&xmp, Attribute("tiltshift:Job", statement.job),
                  Attribute("tiltshift:Seed", statement.seed), ">\n", Elements(statement),
                  "  </rdf:Description>\n </rdf:RDF>\n</x:xmpmeta>\n<?xpacket end=\"r\"?>");
  return xmp;
}

}  // namespace tiltshift::provenance
