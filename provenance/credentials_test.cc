#include "provenance/credentials.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "picture/png.h"
#include "picture/png_chunk.h"
#include "provenance/certificate.h"
#include "provenance/testing/certificates.h"
#include "provenance/testing/changed_png.h"
#include "provenance/verify.h"
#include "provenance/xmp.h"

namespace tiltshift::provenance {
namespace {

using ::testing::HasSubstr;

class CredentialsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::vector<uint8_t> rgb(16 * 16 * 3);
    for (size_t i = 0; i < rgb.size(); ++i) rgb[i] = static_cast<uint8_t>(i * 7);
    plain_ = *picture::WithXmp(*picture::EncodePng(16, 16, rgb), XmpOf(statement_));
    signed_ = *WithCredentials(plain_, statement_, *signer_);
  }
  Verdict Look(std::string_view png) const { return Verify(png, anchors_); }

  const TestCa ca_ = MakeTestCa();
  const TestSigner pem_ = MakeTestSigner(ca_, {});
  const std::shared_ptr<const Signer> signer_ = *Signer::FromPem(pem_.certificate, pem_.key);
  const std::vector<std::string> anchors_ = *CertificatesOf(ca_.certificate);
  Statement statement_{.model = "diorama",
                       .render_class = "cpu/engine-7",
                       .job = "summer & \"sun\"",
                       .seed = "18446744073709551615",
                       .owner = "Brand <Ltd>",
                       .license = "All rights reserved"};
  std::string plain_, signed_;
};

TEST_F(CredentialsTest, APictureSaysWhoSignedItAndWhat) {
  const Verdict verdict = Look(signed_);
  ASSERT_EQ(verdict.finding, Finding::kSigned) << verdict.why;
  EXPECT_EQ(verdict.why, "");
  EXPECT_EQ(verdict.signer, "test signer");
  EXPECT_EQ(verdict.fingerprint, FingerprintOf(signer_->chain()[0]));
  EXPECT_EQ(verdict.generator, "Tiltshift");
  EXPECT_TRUE(verdict.machine_made);
  EXPECT_EQ(verdict.statement.model, "diorama");
  EXPECT_EQ(verdict.statement.render_class, "cpu/engine-7");
  EXPECT_EQ(verdict.statement.job, "summer & \"sun\"");
  EXPECT_EQ(verdict.statement.seed, "18446744073709551615");
  EXPECT_EQ(verdict.statement.owner, "Brand <Ltd>");
  EXPECT_EQ(verdict.statement.license, "All rights reserved");
  EXPECT_EQ(verdict.statement.prompt + verdict.statement.author, "");
  EXPECT_EQ(picture::DecodePng(signed_)->rgb, picture::DecodePng(plain_)->rgb);
  EXPECT_EQ(*picture::XmpOf(signed_), *picture::XmpOf(plain_));
}

// I4
TEST_F(CredentialsTest, TheSameBytesEachTimeAndOthersForOthers) {
  EXPECT_EQ(*WithCredentials(plain_, statement_, *signer_), signed_);
  EXPECT_EQ(*WithoutCredentials(signed_), plain_);
  EXPECT_FALSE(WithCredentials(signed_, statement_, *signer_).ok());
  EXPECT_FALSE(WithCredentials("no picture", statement_, *signer_).ok());
  const TestSigner other = MakeTestSigner(ca_, {});
  EXPECT_NE(*WithCredentials(plain_, statement_, **Signer::FromPem(other.certificate, other.key)),
            signed_);
}

TEST_F(CredentialsTest, WhatIsToldComesBack) {
  statement_.license = "https://example.org/licence";
  statement_.prompt = "a \"robot\"\n\xc3\xa9";
  statement_.author = "Ann O'Neil";
  const Verdict verdict = Look(*WithCredentials(plain_, statement_, *signer_));
  EXPECT_EQ(verdict.statement.license, "https://example.org/licence");
  EXPECT_EQ(verdict.statement.prompt, statement_.prompt);
  EXPECT_EQ(verdict.statement.author, "Ann O'Neil");
}

TEST_F(CredentialsTest, WhatWasMadeFromAPhotoSaysSo) {
  EXPECT_FALSE(Look(signed_).from_photo);
  statement_.from_photo = true;
  const Verdict verdict = Look(*WithCredentials(plain_, statement_, *signer_));
  EXPECT_EQ(verdict.finding, Finding::kSigned) << verdict.why;
  EXPECT_TRUE(verdict.machine_made);
  EXPECT_TRUE(verdict.from_photo);
  EXPECT_TRUE(verdict.statement.from_photo);
  EXPECT_THAT(XmpOf(statement_), HasSubstr("digitalsourcetype/compositeWithTrained"));
}

TEST_F(CredentialsTest, OnePixelOrOneByteOfXmpIsAChange) {
  const std::string repainted = ChangedPixel(signed_);
  ASSERT_NE(picture::DecodePng(repainted)->rgb, picture::DecodePng(signed_)->rgb);
  EXPECT_EQ(Look(repainted).finding, Finding::kChanged);
  EXPECT_EQ(Look(repainted).code, "assertion.dataHash.mismatch");
  const std::string rewritten = ChangedChunk(
      signed_, "iTXt", [](std::string& data) { data.replace(data.find("Brand"), 5, "Brant"); });
  EXPECT_EQ(Look(rewritten).finding, Finding::kChanged);
  EXPECT_EQ(Look(signed_ + "x").finding, Finding::kChanged);
}

TEST_F(CredentialsTest, WithoutThemOrCutOffOrForeignItSaysSo) {
  EXPECT_EQ(Look(plain_).finding, Finding::kNone);
  EXPECT_EQ(Look(*WithoutCredentials(signed_)).finding, Finding::kNone);
  EXPECT_THAT(Look("GIF89a").why, HasSubstr("not a PNG"));
  for (size_t size = 0; size < signed_.size(); ++size) {
    const Verdict verdict = Look(std::string_view(signed_).substr(0, size));
    ASSERT_EQ(verdict.finding, Finding::kUnreadable) << size;
    ASSERT_NE(verdict.why, "");
  }
  const auto others = *CertificatesOf(MakeTestCa().certificate);
  const Verdict verdict = Verify(signed_, others);
  EXPECT_EQ(verdict.finding, Finding::kUntrusted);
  EXPECT_EQ(verdict.code, "signingCredential.untrusted");
  EXPECT_THAT(verdict.why, HasSubstr("test signer"));
  EXPECT_EQ(verdict.statement.model, "diorama");
}

// Whatever byte of the credentials is changed, with the checksum mended.
TEST_F(CredentialsTest, NoByteOfThemCanBeChanged) {
  size_t size = 0;
  for (const auto& chunk : *picture::PngChunks(signed_))
    if (chunk.type == kCredentialsChunk) size = chunk.data.size();
  ASSERT_GT(size, 1000u);
  for (size_t at = 0; at < size; ++at) {
    const std::string changed = ChangedChunk(signed_, kCredentialsChunk, [&](std::string& data) {
      data[at] = static_cast<char>(data[at] ^ 1 << at % 8);
    });
    const Verdict verdict = Look(changed);
    ASSERT_NE(verdict.finding, Finding::kSigned) << at;
    ASSERT_NE(verdict.finding, Finding::kUntrusted) << at;
  }
}

TEST_F(CredentialsTest, TwoOfThemAreNone) {
  std::string store;
  for (const auto& chunk : *picture::PngChunks(signed_))
    if (chunk.type == kCredentialsChunk) store = std::string(chunk.data);
  EXPECT_EQ(Look(*picture::WithChunk(signed_, kCredentialsChunk, store)).code,
            "manifest.multipleManifests");
  const std::string longer = ChangedChunk(signed_, kCredentialsChunk,
                                          [](std::string& data) { data += std::string(16, '\0'); });
  EXPECT_EQ(Look(longer).finding, Finding::kUnreadable);
}

}  // namespace
}  // namespace tiltshift::provenance
