#include "worker/provenance.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "picture/png.h"
#include "provenance/certificate.h"
#include "provenance/testing/certificates.h"
#include "provenance/verify.h"

namespace tiltshift::worker {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class ProvenanceTest : public ::testing::Test {
 protected:
  ProvenanceTest() {
    spec_.set_name("summer");
    spec_.set_model("diorama");
    variant_.seed = 7;
    variant_.prompt = "a ROBOTIC dream";
    variant_.parameters["author"] = "Ann O'Neil";
    variant_.parameters["id"] = "ANN-17";
    variant_.output_name = "ANN-17.png";
  }
  // As it is in the file, uncompressed: XMP and credentials both.
  std::string Written() const {
    return *WithProvenance(png_, spec_, variant_, "cpu", signer_.get());
  }

  const provenance::TestCa ca_ = provenance::MakeTestCa();
  const provenance::TestSigner pem_ = provenance::MakeTestSigner(ca_, {});
  const std::shared_ptr<const provenance::Signer> signer_ =
      *provenance::Signer::FromPem(pem_.certificate, pem_.key);
  const std::string png_ = *picture::EncodePng(1, 1, std::vector<uint8_t>(3));
  v1::JobSpec spec_;
  plan::Variant variant_;
};

TEST_F(ProvenanceTest, TellsNoPromptAndNoNameUnlessTheSpecDoes) {
  for (const char* secret : {"ROBOTIC", "Ann", "ANN-17"})
    EXPECT_THAT(Written(), Not(HasSubstr(secret)));
  spec_.mutable_output()->set_tell_prompt(true);
  std::string written = Written();
  EXPECT_NE(written.find("ROBOTIC"), written.rfind("ROBOTIC"));  // in XMP and in the credentials
  EXPECT_THAT(written, Not(HasSubstr("Ann")));
  spec_.mutable_output()->set_tell_prompt(false);
  spec_.mutable_output()->set_tell_author(true);
  written = Written();
  EXPECT_NE(written.find("Ann O'Neil"), written.rfind("Ann O'Neil"));
  EXPECT_THAT(written, Not(HasSubstr("ROBOTIC")));
  EXPECT_THAT(written, Not(HasSubstr("ANN-17")));
}

TEST_F(ProvenanceTest, WhatTheSpecSaysIsSigned) {
  spec_.mutable_output()->set_owner("Brand");
  spec_.mutable_output()->set_license("CC0");
  const auto verdict = provenance::Verify(Written(), *provenance::CertificatesOf(ca_.certificate));
  ASSERT_EQ(verdict.finding, provenance::Finding::kSigned) << verdict.why;
  EXPECT_EQ(verdict.statement.model, "diorama");
  EXPECT_EQ(verdict.statement.seed, "7");
  EXPECT_EQ(verdict.statement.job, "summer");
  EXPECT_EQ(verdict.statement.owner, "Brand");
  EXPECT_EQ(verdict.statement.license, "CC0");
  EXPECT_EQ(verdict.statement.render_class, "cpu");
}

// An entry without a photo, of a contest with photos, is made of words alone.
TEST_F(ProvenanceTest, APictureMadeFromAPhotoSaysSo) {
  const auto from_photo = [&] {
    return provenance::Verify(Written(), *provenance::CertificatesOf(ca_.certificate)).from_photo;
  };
  spec_.mutable_contest()->add_columns()->set_name("photo");
  variant_.parameters["photo"] = "p0123456789abcdef0123456789abcdef";
  EXPECT_TRUE(from_photo());
  EXPECT_THAT(Written(), HasSubstr("compositeWithTrainedAlgorithmicMedia"));
  EXPECT_THAT(Written(), Not(HasSubstr("p0123456789")));
  variant_.parameters["photo"] = "";
  EXPECT_FALSE(from_photo());
}

TEST_F(ProvenanceTest, WithoutASignerThereIsXmpAlone) {
  const std::string written = *WithProvenance(png_, spec_, variant_, "cpu", nullptr);
  EXPECT_THAT(written, HasSubstr("trainedAlgorithmicMedia"));
  EXPECT_EQ(provenance::Verify(written, {}).finding, provenance::Finding::kNone);
}

}  // namespace
}  // namespace tiltshift::worker
