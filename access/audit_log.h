// The audit log: a line of JSON (v1::AuditLine) for every call that changes something and for every
// call that was refused. A line is in the file before the caller has its answer. No secret, no
// prompt and no picture is ever in it.
#pragma once

#include <mutex>
#include <string>

#include "base/status.h"
#include "proto/tokens.pb.h"

namespace tiltshift::access {

// Any thread.
class AuditLog {
 public:
  // Appends to `path`, made for its owner alone where it is not there.
  static absl::StatusOr<std::unique_ptr<AuditLog>> Open(const std::string& path);
  ~AuditLog();

  // Of what was done. Unavailable or ResourceExhausted where it can't be written.
  absl::Status Write(v1::AuditLine line, int64_t now_ms);
  // Of what was refused: at most kRefusals a second, so that nobody fills the disk by asking.
  absl::Status WriteRefusal(v1::AuditLine line, int64_t now_ms);
  static constexpr int kRefusals = 100;

  // Goes on in a new file of the same name: the old one was moved away. Keeps the old one where
  // that fails.
  absl::Status Reopen();

 private:
  AuditLog(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  absl::Status WriteLocked(v1::AuditLine& line, int64_t now_ms);

  const std::string path_;
  std::mutex mutex_;
  int fd_;
  int64_t second_ = 0;  // the one that `refusals_` are of
  int refusals_ = 0;
  uint64_t omitted_ = 0;
};

}  // namespace tiltshift::access
