// Where an S3 store is, and who we are there.
//
//   --blobs s3://BUCKET/PREFIX       the prefix may be left out
//   endpoint    http://HOST:PORT or https://HOST: a flag, AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, or
//               Amazon's own of the region
//   region      a flag, AWS_REGION, AWS_DEFAULT_REGION, or us-east-1
//   credentials AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN: from the environment
//               alone, because a command line is there for everyone to read
//   certificates to trust    AWS_CA_BUNDLE, a file; else the system's
#pragma once

#include <string>

#include "base/status.h"

namespace tiltshift::store {

struct S3Address {
  std::string bucket;
  std::string prefix;    // without '/' at either end; may be empty
  std::string endpoint;  // without '/' at the end
  std::string region;
  std::string access_key, secret_key, session_token;
  std::string ca_bundle;

  // "s3://bucket/prefix at http://host:port": for messages, without credentials.
  std::string Shown() const;
};

bool IsS3(const std::string& blobs);

// What flags leave empty comes from the environment. InvalidArgument says what is wrong or missing,
// and where it is set, without showing a credential.
absl::StatusOr<S3Address> ParseS3Address(const std::string& blobs, const std::string& endpoint,
                                         const std::string& region);

}  // namespace tiltshift::store
