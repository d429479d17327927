// Errors from end to end are absl::Status and absl::StatusOr (gRPC brings Abseil along). A message
// says what went wrong, where (field path, row, variant, file), and what to do about it.
//
//   Unavailable         try again: the other side is restarting or busy
//   FailedPrecondition  your lease token or epoch is stale; do not try again
//   DataLoss            a damaged file
//   InvalidArgument     the caller's input is wrong; the message names the field
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace tiltshift {

// The same code with `context` put before the message: "loading models/diorama: ...".
absl::Status Annotate(const absl::Status& status, const std::string& context);

// The message as text. (absl::string_view is not std::string_view in every distribution's build.)
std::string Message(const absl::Status& status);

// "No space left on device" and its kin: what the operating system said of `path`, with the code
// that tells a caller whether another try can help, and a word on what to do.
absl::Status ErrnoStatus(int error, const std::string& what, const std::string& path);

}  // namespace tiltshift

#define TS_CONCAT_INNER(a, b) a##b
#define TS_CONCAT(a, b) TS_CONCAT_INNER(a, b)

// Returns from the calling function if `expr` is not OK.
#define TS_RETURN_IF_ERROR(expr)           \
  do {                                     \
    ::absl::Status ts_status = (expr);     \
    if (!ts_status.ok()) return ts_status; \
  } while (false)

// TS_ASSIGN_OR_RETURN(auto x, F()): x = the value of F(), or returns F()'s error.
#define TS_ASSIGN_OR_RETURN(lhs, expr)                                                           \
  auto TS_CONCAT(ts_or_, __LINE__) = (expr);                                                     \
  if (!TS_CONCAT(ts_or_, __LINE__).ok()) return std::move(TS_CONCAT(ts_or_, __LINE__)).status(); \
  lhs = std::move(TS_CONCAT(ts_or_, __LINE__)).value()
