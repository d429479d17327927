// The S3 store against a real server process: signatures, TLS, pages, death.
#include "store/s3_blob_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/support/process.h"
#include "tests/support/s3_server.h"

namespace tiltshift::store {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class S3BlobStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!tests::S3Server::Missing().empty()) GTEST_SKIP() << tests::S3Server::Missing();
    folder_ = tests::FreshFolder();
  }
  void TearDown() override {
    for (const char* name : {"AWS_SESSION_TOKEN", "AWS_CA_BUNDLE"}) unsetenv(name);
  }
  void Serve(std::vector<std::string> options = {}) {
    server_ = std::make_unique<tests::S3Server>(folder_, std::move(options));
    server_->SetEnvironment();
  }
  absl::StatusOr<std::unique_ptr<BlobStore>> Open(const S3Options& options = {},
                                                  const std::string& where = "s3://farm/p") {
    auto address = ParseS3Address(where, "", "");
    if (!address.ok()) return address.status();
    return OpenS3BlobStore(*address, options);
  }
  std::unique_ptr<BlobStore> MustOpen(const S3Options& options = {}) {
    auto store = Open(options);
    EXPECT_TRUE(store.ok()) << store.status();
    return store.ok() ? std::move(*store) : nullptr;
  }
  // Says what is wrong, without a credential, and without another try, which this test would not
  // see the end of.
  std::string Denied(const std::string& where = "s3://farm/p") {
    const absl::Status status = Open({.patience_ms = 3'600'000}, where).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied) << status;
    const std::string said(status.message());
    EXPECT_THAT(said, HasSubstr(server_->endpoint()));
    for (const char* name : {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"})
      EXPECT_THAT(said, Not(HasSubstr(std::getenv(name))));
    return said;
  }

  std::string folder_;
  std::unique_ptr<tests::S3Server> server_;
};

// Every kind of request, with keys and tokens that a careless signature would miss.
TEST_F(S3BlobStoreTest, SignaturesAreWhatTheServerCalculates) {
  Serve({"--auth"});
  const auto store = MustOpen({.page_keys = 2});
  ASSERT_NE(store, nullptr);
  for (const char* key : {"jobs/a b+c/=&?#%41'()*!~.png", "jobs/\xc3\xa9", "jobs/1", "jobs/2"}) {
    EXPECT_TRUE(*store->PutIfAbsent(key, key)) << key;
    EXPECT_FALSE(*store->PutIfAbsent(key, key)) << key;
    EXPECT_EQ(*store->Get(key), key);
    EXPECT_TRUE(*store->Exists(key));
  }
  EXPECT_EQ(store->List("jobs/")->size(), 4u);
  EXPECT_TRUE(store->Delete("jobs/1").ok());
  EXPECT_EQ(store->List("jobs/")->size(), 3u);

  setenv("AWS_SECRET_ACCESS_KEY", "Sesame", 1);
  const std::string wrong = Denied();
  EXPECT_THAT(wrong, HasSubstr("SignatureDoesNotMatch"));
  EXPECT_THAT(wrong, HasSubstr("s3://farm/p/.tiltshift-blobs"));
  EXPECT_THAT(wrong, HasSubstr("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to a pair"));
  setenv("AWS_ACCESS_KEY_ID", "AKIANOBODY", 1);
  EXPECT_THAT(Denied(), HasSubstr("InvalidAccessKeyId"));
}

TEST_F(S3BlobStoreTest, ListsPageByPage) {
  Serve();
  const auto store = MustOpen({.page_keys = 7});
  std::vector<std::string> keys;
  for (int i = 100; i < 150; ++i) {
    keys.push_back(absl::StrCat("jobs/", i, "+ &.png"));
    ASSERT_TRUE(*store->PutIfAbsent(keys.back(), ""));
  }
  EXPECT_EQ(*store->List("jobs/"), keys);
}

TEST_F(S3BlobStoreTest, ABucketThatIsNotThere) {
  Serve();
  const std::string said = Denied("s3://nowhere/p");
  EXPECT_THAT(said, HasSubstr("s3://nowhere/p"));
  EXPECT_THAT(said, HasSubstr("make the bucket, or name another in --blobs"));
}

TEST_F(S3BlobStoreTest, ThePrefixOfOneIsHiddenFromAnother) {
  Serve();
  const auto store = MustOpen();
  const auto whole = Open({}, "s3://farm"), other = Open({}, "s3://farm/p2");
  ASSERT_TRUE(whole.ok() && other.ok());
  EXPECT_TRUE(*store->PutIfAbsent("jobs/a", "1"));
  EXPECT_TRUE(*(*other)->PutIfAbsent("jobs/a", "2"));
  EXPECT_EQ(*(*whole)->Get("p/jobs/a"), "1");
  EXPECT_THAT(*(*whole)->List("p/"), ::testing::ElementsAre("p/.tiltshift-blobs", "p/jobs/a"));
  const auto long_key = store->PutIfAbsent(std::string(250, 'x') + "/" + std::string(250, 'x') +
                                               "/" + std::string(250, 'x') + "/" +
                                               std::string(250, 'x') + "/" + std::string(19, 'x'),
                                           "");
  EXPECT_EQ(long_key.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(long_key.status().message()), HasSubstr("shorten the prefix"));
}

TEST_F(S3BlobStoreTest, Https) {
  const std::string certificate = folder_ + "/cert.pem", key = folder_ + "/key.pem";
  tests::Process openssl({"openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                          "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                          "-keyout", key, "-out", certificate},
                         folder_);
  ASSERT_EQ(openssl.Wait(60'000), 0) << openssl.Errors();
  Serve({"--tls", certificate, key, "--auth"});
  EXPECT_THAT(Denied(), HasSubstr("certificate"));
  setenv("AWS_CA_BUNDLE", certificate.c_str(), 1);
  const auto store = MustOpen();
  ASSERT_NE(store, nullptr);
  EXPECT_TRUE(*store->PutIfAbsent("a", std::string(100'000, 'x')));
  EXPECT_EQ(*store->Get("a"), std::string(100'000, 'x'));
  setenv("AWS_CA_BUNDLE", "/none.pem", 1);
  EXPECT_THAT(Denied(), HasSubstr("/none.pem"));
}

TEST_F(S3BlobStoreTest, TheServerDiesAndComesBack) {
  Serve();
  const auto store = MustOpen(), hasty = MustOpen({.patience_ms = 1'000});
  ASSERT_TRUE(*store->PutIfAbsent("a", "1"));
  server_->KillMinus9();
  const auto put = hasty->PutIfAbsent("jobs/b", "2");
  EXPECT_EQ(put.status().code(), absl::StatusCode::kUnavailable);
  const std::string said(put.status().message());
  EXPECT_THAT(said, HasSubstr("put s3://farm/p/jobs/b at " + server_->endpoint()));
  EXPECT_THAT(said, HasSubstr("given up after"));
  EXPECT_THAT(said, HasSubstr("is the server up, and reached from here?"));
  EXPECT_THAT(said, Not(HasSubstr(server_->secret_key())));
  EXPECT_EQ(Open({.patience_ms = 200}).status().code(), absl::StatusCode::kUnavailable);
  server_->Start();
  EXPECT_TRUE(*store->PutIfAbsent("jobs/b", "2"));
  EXPECT_EQ(*store->Get("jobs/b"), "2");
}

}  // namespace
}  // namespace tiltshift::store
