// What S3 says in XML: an error's code, and one page of a listing. Reads the few elements that
// matter and trusts nothing: whatever the bytes are, the answer is a value or an error.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace tiltshift::store {

struct S3Error {
  std::string code;     // "SlowDown"; empty where the body is no error of S3's
  std::string message;  // printable, a line at most
};

S3Error ParseS3Error(std::string_view body);

struct S3Page {
  std::vector<std::string> keys;
  std::string next;  // the token that asks for the next page; empty: this is the last
};

// A ListObjectsV2 answer. DataLoss where it is none, or not whole.
absl::StatusOr<S3Page> ParseS3Page(std::string_view body);

}  // namespace tiltshift::store
