#include "worker/provenance.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace tiltshift::worker {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

v1::JobSpec Spec() {
  v1::JobSpec spec;
  spec.set_name("summer & \"sun\"");
  spec.set_model("diorama");
  return spec;
}

plan::Variant Variant() {
  plan::Variant variant;
  variant.seed = 7;
  variant.prompt = "a <robot>\n& co";
  variant.parameters["author"] = "Ann O'Neil";
  return variant;
}

TEST(ProvenanceTest, SaysThatAMachineMadeIt) {
  const std::string xmp = ProvenanceXmp(Spec(), Variant(), "cpu/engine-5");
  EXPECT_THAT(
      xmp,
      HasSubstr("Iptc4xmpExt:DigitalSourceType=\"http://cv.iptc.org/newscodes/digitalsourcetype/"
                "trainedAlgorithmicMedia\""));
  EXPECT_THAT(xmp, HasSubstr("Iptc4xmpExt:AISystemUsed=\"Tiltshift, model diorama\""));
  EXPECT_THAT(xmp, HasSubstr("Iptc4xmpExt:AISystemVersionUsed=\"cpu/engine-5\""));
  EXPECT_THAT(xmp, HasSubstr("tiltshift:Job=\"summer &amp; &quot;sun&quot;\""));
  EXPECT_THAT(xmp, HasSubstr("tiltshift:Seed=\"7\""));
}

TEST(ProvenanceTest, TellsNoPromptAndNoNameUnlessTheSpecDoes) {
  v1::JobSpec spec = Spec();
  std::string xmp = ProvenanceXmp(spec, Variant(), "cpu");
  EXPECT_THAT(xmp, Not(HasSubstr("robot")));
  EXPECT_THAT(xmp, Not(HasSubstr("Ann")));
  spec.mutable_output()->set_tell_prompt(true);
  xmp = ProvenanceXmp(spec, Variant(), "cpu");
  EXPECT_THAT(xmp, HasSubstr("AIPromptInformation=\"a &lt;robot&gt;&#10;&amp; co\""));
  EXPECT_THAT(xmp, Not(HasSubstr("Ann")));
  spec.mutable_output()->set_tell_author(true);
  EXPECT_THAT(ProvenanceXmp(spec, Variant(), "cpu"),
              HasSubstr("AIPromptWriterName=\"Ann O'Neil\""));
}

TEST(ProvenanceTest, OwnerAndLicenceAreTheSpecs) {
  v1::JobSpec spec = Spec();
  EXPECT_THAT(ProvenanceXmp(spec, Variant(), "cpu"), Not(HasSubstr("xmpRights:Owner")));
  spec.mutable_output()->set_owner("Brand <Ltd>");
  spec.mutable_output()->set_license("All rights reserved");
  std::string xmp = ProvenanceXmp(spec, Variant(), "cpu");
  EXPECT_THAT(xmp, HasSubstr("<xmpRights:Owner><rdf:Bag><rdf:li>Brand &lt;Ltd&gt;</rdf:li>"));
  EXPECT_THAT(xmp, HasSubstr("<rdf:li xml:lang=\"x-default\">All rights reserved</rdf:li>"));
  spec.mutable_output()->set_license("https://example.org/licence");
  xmp = ProvenanceXmp(spec, Variant(), "cpu");
  EXPECT_THAT(xmp, HasSubstr("xmpRights:WebStatement=\"https://example.org/licence\""));
  EXPECT_THAT(xmp, Not(HasSubstr("UsageTerms")));
}

}  // namespace
}  // namespace tiltshift::worker
