#include "provenance/certificate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "base/file.h"
#include "provenance/own_certificate.h"
#include "provenance/signer.h"
#include "provenance/testing/certificates.h"

namespace tiltshift::provenance {
namespace {

using ::testing::HasSubstr;

absl::Status Unfit(const TestSigner& signer) {
  return Signer::FromPem(signer.certificate, signer.key).status();
}

TEST(Certificate, OnlyWhatC2paTakesMaySign) {
  const TestCa ca = MakeTestCa();
  EXPECT_TRUE(Unfit(MakeTestSigner(ca, {})).ok()) << Unfit(MakeTestSigner(ca, {}));
  EXPECT_TRUE(Unfit(MakeTestSigner(ca, {.extended_key_usage = "1.3.6.1.4.1.62558.2.1"})).ok());
  EXPECT_THAT(Message(Unfit(MakeTestSigner(ca, {.key = "P-256"}))), HasSubstr("not of Ed25519"));
  EXPECT_THAT(Message(Unfit(MakeTestSigner(ca, {.key_usage = "keyAgreement"}))),
              HasSubstr("digitalSignature"));
  EXPECT_THAT(Message(Unfit(MakeTestSigner(ca, {.extended_key_usage = "serverAuth"}))),
              HasSubstr("extended key usage"));
  EXPECT_THAT(Message(Unfit(MakeTestSigner(
                  ca, {.extended_key_usage = "emailProtection,anyExtendedKeyUsage"}))),
              HasSubstr("for anything"));
  EXPECT_THAT(Message(Unfit(MakeTestSigner(ca, {.basic_constraints = "critical,CA:TRUE"}))),
              HasSubstr("a CA's"));
  EXPECT_THAT(Message(Unfit({ca.certificate, ca.key})), HasSubstr("a CA's"));
}

TEST(Certificate, TheKeyMustBeItsOwn) {
  const TestCa ca = MakeTestCa();
  const TestSigner one = MakeTestSigner(ca, {}), other = MakeTestSigner(ca, {});
  EXPECT_THAT(Message(Signer::FromPem(one.certificate, other.key).status()),
              HasSubstr("not that of the first certificate"));
  EXPECT_THAT(Message(Signer::FromPem(one.certificate, "").status()), HasSubstr("no private key"));
  EXPECT_THAT(Message(Signer::FromPem("", one.key).status()), HasSubstr("no certificates"));
  EXPECT_THAT(Message(Signer::Load("/nowhere/cert.pem", "/nowhere/key.pem").status()),
              HasSubstr("/nowhere/cert.pem"));
}

TEST(Certificate, TrustIsTheCasAndOfToday) {
  const TestCa ca = MakeTestCa(), other = MakeTestCa();
  const auto anchors = *CertificatesOf(ca.certificate);
  const auto chain = *CertificatesOf(MakeTestSigner(ca, {}).certificate);
  EXPECT_TRUE(CheckTrust(chain, anchors).ok()) << CheckTrust(chain, anchors);
  EXPECT_EQ(CheckTrust(chain, {}).code(), absl::StatusCode::kPermissionDenied);
  EXPECT_FALSE(CheckTrust(chain, *CertificatesOf(other.certificate)).ok());
  const auto old = *CertificatesOf(MakeTestSigner(ca, {.valid_seconds = -3600}).certificate);
  EXPECT_THAT(Message(CheckTrust(old, anchors)), HasSubstr("expired"));
  EXPECT_FALSE(CheckTrust({"nonsense"}, anchors).ok());
}

TEST(Certificate, SignsTheSameEachTime) {
  const TestSigner pem = MakeTestSigner(MakeTestCa(), {});
  const auto signer = *Signer::FromPem(pem.certificate, pem.key);
  const std::string signature = *signer->Sign("message");
  EXPECT_EQ(*signer->Sign("message"), signature);
  EXPECT_TRUE(CheckSignature(signer->chain()[0], "message", signature).ok());
  EXPECT_FALSE(CheckSignature(signer->chain()[0], "massage", signature).ok());
  EXPECT_FALSE(CheckSignature(signer->chain()[0], "message", signature.substr(1)).ok());
}

TEST(OwnCertificate, IsMadeOnceForManyAndKept) {
  const std::string folder = ::testing::TempDir() + "/own-certificate-" + std::to_string(getpid());
  std::vector<std::string> signers(4);
  std::vector<std::thread> threads;
  for (auto& signer : signers)
    threads.emplace_back([&] { signer = *ReadFile(MakeOwnCertificate(folder)->signer_file); });
  for (auto& thread : threads) thread.join();
  EXPECT_THAT(signers, ::testing::Each(signers[0]));
  struct stat info;
  ASSERT_EQ(stat((folder + "/signer.pem").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  ASSERT_EQ(stat(folder.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);

  const auto own = *MakeOwnCertificate(folder);
  const auto signer = Signer::Load(own.signer_file, own.signer_file);
  ASSERT_TRUE(signer.ok()) << signer.status();
  const auto anchors = *CertificatesOf(*ReadFile(own.ca_file));
  EXPECT_TRUE(CheckTrust((*signer)->chain(), anchors).ok());
  EXPECT_THAT(NameOf((*signer)->chain()[0]), HasSubstr("Tiltshift farm "));

  // What was signed with a lost key stays trusted.
  std::filesystem::remove(own.signer_file);
  MakeOwnCertificate(folder).IgnoreError();
  const auto both = *CertificatesOf(*ReadFile(own.ca_file));
  EXPECT_EQ(both.size(), 2u);
  EXPECT_NE(*ReadFile(own.signer_file), signers[0]);
  EXPECT_TRUE(CheckTrust((*signer)->chain(), both).ok());
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace tiltshift::provenance
