#include "provenance/xmp.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tiltshift::provenance {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Statement Says() {
  return {
      .model = "diorama", .render_class = "cpu/engine-5", .job = "summer & \"sun\"", .seed = "7"};
}

TEST(Xmp, SaysThatAMachineMadeIt) {
  const std::string xmp = XmpOf(Says());
  EXPECT_THAT(
      xmp,
      HasSubstr("Iptc4xmpExt:DigitalSourceType=\"http://cv.iptc.org/newscodes/digitalsourcetype/"
                "trainedAlgorithmicMedia\""));
  EXPECT_THAT(xmp, HasSubstr("Iptc4xmpExt:AISystemUsed=\"Tiltshift, model diorama\""));
  EXPECT_THAT(xmp, HasSubstr("Iptc4xmpExt:AISystemVersionUsed=\"cpu/engine-5\""));
  EXPECT_THAT(xmp, HasSubstr("tiltshift:Job=\"summer &amp; &quot;sun&quot;\""));
  EXPECT_THAT(xmp, HasSubstr("tiltshift:Seed=\"7\""));
  EXPECT_THAT(xmp, Not(HasSubstr("AIPrompt")));
}

TEST(Xmp, WhatIsToldIsEscaped) {
  Statement says = Says();
  says.prompt = "a <robot>\n& co";
  says.author = "Ann O'Neil";
  const std::string xmp = XmpOf(says);
  EXPECT_THAT(xmp, HasSubstr("AIPromptInformation=\"a &lt;robot&gt;&#10;&amp; co\""));
  EXPECT_THAT(xmp, HasSubstr("AIPromptWriterName=\"Ann O'Neil\""));
}

TEST(Xmp, OwnerAndLicence) {
  Statement says = Says();
  EXPECT_THAT(XmpOf(says), Not(HasSubstr("xmpRights:Owner")));
  says.owner = "Brand <Ltd>";
  says.license = "All rights reserved";
  std::string xmp = XmpOf(says);
  EXPECT_THAT(xmp, HasSubstr("<xmpRights:Owner><rdf:Bag><rdf:li>Brand &lt;Ltd&gt;</rdf:li>"));
  EXPECT_THAT(xmp, HasSubstr("<rdf:li xml:lang=\"x-default\">All rights reserved</rdf:li>"));
  says.license = "https://example.org/licence";
  xmp = XmpOf(says);
  EXPECT_THAT(xmp, HasSubstr("xmpRights:WebStatement=\"https://example.org/licence\""));
  EXPECT_THAT(xmp, Not(HasSubstr("UsageTerms")));
}

}  // namespace
}  // namespace tiltshift::provenance
