#include "store/s3_address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "store/percent.h"

namespace tiltshift::store {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kNames[] = {
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",   "AWS_REGION",
    "AWS_CA_BUNDLE",     "AWS_DEFAULT_REGION",    "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"};

class S3AddressTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : kNames) unsetenv(name);
    setenv("AWS_ACCESS_KEY_ID", "AKIATEST", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "hush/hush+", 1);
  }
  void TearDown() override {
    for (const char* name : kNames) unsetenv(name);
  }
  static S3Address Parsed(const std::string& blobs, const std::string& endpoint = "",
                          const std::string& region = "") {
    const auto address = ParseS3Address(blobs, endpoint, region);
    EXPECT_TRUE(address.ok()) << address.status();
    return address.ok() ? *address : S3Address();
  }
  static std::string Refusal(const std::string& blobs, const std::string& endpoint = "",
                             const std::string& region = "") {
    const auto address = ParseS3Address(blobs, endpoint, region);
    EXPECT_EQ(address.status().code(), absl::StatusCode::kInvalidArgument) << blobs << endpoint;
    const std::string said(address.status().message());
    EXPECT_THAT(said, Not(HasSubstr("hush")));
    return said;
  }
};

TEST_F(S3AddressTest, BucketAndPrefix) {
  EXPECT_EQ(Parsed("s3://farm").bucket, "farm");
  EXPECT_EQ(Parsed("s3://farm").prefix, "");
  EXPECT_EQ(Parsed("s3://farm/").prefix, "");
  EXPECT_EQ(Parsed("s3://farm/a/b/").prefix, "a/b");
  EXPECT_EQ(Parsed("s3://farm/a", "http://h:1").Shown(), "s3://farm/a at http://h:1");
  EXPECT_TRUE(IsS3("s3://farm"));
  EXPECT_FALSE(IsS3("/srv/s3://farm"));
  EXPECT_FALSE(IsS3("s3:/farm"));
}

TEST_F(S3AddressTest, EndpointAndRegionFromFlagsThenTheEnvironmentThenAmazon) {
  EXPECT_EQ(Parsed("s3://farm").endpoint, "https://s3.us-east-1.amazonaws.com");
  setenv("AWS_DEFAULT_REGION", "eu-west-1", 1);
  EXPECT_EQ(Parsed("s3://farm").endpoint, "https://s3.eu-west-1.amazonaws.com");
  setenv("AWS_REGION", "eu-central-1", 1);
  EXPECT_EQ(Parsed("s3://farm").region, "eu-central-1");
  EXPECT_EQ(Parsed("s3://farm", "", "eu-north-1").region, "eu-north-1");
  setenv("AWS_ENDPOINT_URL", "http://minio:9000/", 1);
  EXPECT_EQ(Parsed("s3://farm").endpoint, "http://minio:9000");
  setenv("AWS_ENDPOINT_URL_S3", "http://[::1]:9001", 1);
  EXPECT_EQ(Parsed("s3://farm").endpoint, "http://[::1]:9001");
  EXPECT_EQ(Parsed("s3://farm", "https://store").endpoint, "https://store");
}

TEST_F(S3AddressTest, CredentialsComeFromTheEnvironment) {
  setenv("AWS_SESSION_TOKEN", "token==", 1);
  setenv("AWS_CA_BUNDLE", "/etc/ca.pem", 1);
  const S3Address address = Parsed("s3://farm");
  EXPECT_EQ(address.access_key, "AKIATEST");
  EXPECT_EQ(address.secret_key, "hush/hush+");
  EXPECT_EQ(address.session_token, "token==");
  EXPECT_EQ(address.ca_bundle, "/etc/ca.pem");
  setenv("AWS_SECRET_ACCESS_KEY", "hush\r\nx: y", 1);
  EXPECT_THAT(Refusal("s3://farm"), HasSubstr("AWS_SECRET_ACCESS_KEY holds a blank"));
  unsetenv("AWS_SECRET_ACCESS_KEY");
  EXPECT_THAT(Refusal("s3://farm"), HasSubstr("has no AWS_SECRET_ACCESS_KEY; set it"));
  setenv("AWS_ACCESS_KEY_ID", "", 1);
  EXPECT_THAT(Refusal("s3://farm"), HasSubstr("has no AWS_ACCESS_KEY_ID"));
}

TEST_F(S3AddressTest, WhatIsNone) {
  for (const char* bucket :
       {"s3://", "s3:///x", "s3://ab", "s3://Farm/x", "s3://fa_rm", "s3://f?m"})
    EXPECT_THAT(Refusal(bucket), HasSubstr("is no bucket's name"));
  for (const char* prefix : {"s3://farm//", "s3://farm//x", "s3://farm/a//b", "s3://farm/a/../b",
                             "s3://farm/.", "s3://farm/a b"})
    EXPECT_THAT(Refusal(prefix), HasSubstr("is no prefix"));
  EXPECT_THAT(Refusal("s3://farm", "minio:9000"), HasSubstr("begins with http:// or https://"));
  EXPECT_THAT(Refusal("s3://farm", "http://me:hush@minio"), HasSubstr("holds no user"));
  for (const char* endpoint : {"http://minio/path", "http://minio?x", "http://a b"})
    EXPECT_THAT(Refusal("s3://farm", endpoint), HasSubstr("nothing behind it"));
  for (const char* endpoint : {"http://", "http://:80"})
    EXPECT_THAT(Refusal("s3://farm", endpoint), HasSubstr("names no host"));
  for (const char* endpoint : {"http://minio:port", "http://minio:0", "http://minio:70000"})
    EXPECT_THAT(Refusal("s3://farm", endpoint), HasSubstr("its port is no port"));
  EXPECT_THAT(Refusal("s3://farm", "", "eu:central"), HasSubstr("is no region"));
}

TEST(PercentEncoded, AsTheSignatureWantsIt) {
  EXPECT_EQ(PercentEncoded("aZ09-._~", false), "aZ09-._~");
  EXPECT_EQ(PercentEncoded("a/b c+\xc3\xa9", true), "a/b%20c%2B%C3%A9");
  EXPECT_EQ(PercentEncoded("a/b", false), "a%2Fb");
}

}  // namespace
}  // namespace tiltshift::store
