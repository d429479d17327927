#include "worker/output_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/hash.h"
#include "picture/png.h"
#include "provenance/credentials.h"
#include "provenance/testing/certificates.h"
#include "tests/support/process.h"

namespace tiltshift::worker {
namespace {

using ::testing::HasSubstr;

class OutputWriterTest : public ::testing::Test {
 protected:
  OutputWriterTest() { variant_.output_name = "0.png"; }
  ~OutputWriterTest() override { std::filesystem::remove_all(folder_); }

  absl::Status Write(const std::string& png, uint64_t token) {
    return WriteOutput(*blobs_, {.token = token, .job_id = "j1", .index = 0}, variant_,
                       {.png = png, .render_class = "test"}, 1, "w");
  }
  // By a signer of its own.
  std::string Signed() const {
    const auto pem = provenance::MakeTestSigner(provenance::MakeTestCa(), {});
    return *provenance::WithCredentials(png_, {},
                                        **provenance::Signer::FromPem(pem.certificate, pem.key));
  }

  const std::string folder_ = tests::FreshFolder();
  const std::unique_ptr<store::BlobStore> blobs_ = *store::OpenFileBlobStore(folder_, 0);
  const std::string png_ = *picture::EncodePng(1, 1, std::vector<uint8_t>(3));
  plan::Variant variant_;
};

TEST_F(OutputWriterTest, ANewCertificateKeepsWhatTheOldOneSigned) {
  const std::string first = Signed();
  ASSERT_TRUE(Write(first, 1).ok());
  ASSERT_TRUE(Write(first, 2).ok());
  const absl::Status again = Write(Signed(), 3);
  ASSERT_TRUE(again.ok()) << again;
  EXPECT_EQ(*blobs_->Get("jobs/j1/outputs/0.png"), first);
  EXPECT_THAT(*blobs_->Get("jobs/j1/manifest/0-0-3.jsonl"), HasSubstr(Sha256Hex(first)));
}

TEST_F(OutputWriterTest, AnotherPictureUnderTheNameIsAnError) {
  ASSERT_TRUE(Write(Signed(), 1).ok());
  const std::string other = *picture::EncodePng(1, 1, std::vector<uint8_t>{1, 2, 3});
  EXPECT_EQ(Write(other, 2).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Write("no picture", 3).code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace tiltshift::worker
