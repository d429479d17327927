#include "access/audit_log.h"

#include <fcntl.h>
#include <google/protobuf/util/json_util.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "absl/time/time.h"

namespace tiltshift::access {
namespace {

absl::StatusOr<int> OpenForAppending(const std::string& path) {
  const int fd = open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return ErrnoStatus(errno, "cannot open the audit log", path);
  return fd;
}

std::string Time(int64_t unix_ms) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::FromUnixMillis(unix_ms),
                          absl::UTCTimeZone());
}

}  // namespace

absl::StatusOr<std::unique_ptr<AuditLog>> AuditLog::Open(const std::string& path) {
  TS_ASSIGN_OR_RETURN(const int fd, OpenForAppending(path));
  return std::unique_ptr<AuditLog>(new AuditLog(path, fd));
}

AuditLog::~AuditLog() { close(fd_); }

absl::Status AuditLog::Reopen() {
  TS_ASSIGN_OR_RETURN(const int fd, OpenForAppending(path_));
  std::lock_guard lock(mutex_);
  close(fd_);
  fd_ = fd;
  return absl::OkStatus();
}

absl::Status AuditLog::Write(v1::AuditLine line, int64_t now_ms) {
  std::lock_guard lock(mutex_);
  return WriteLocked(line, now_ms);
}

absl::Status AuditLog::WriteRefusal(v1::AuditLine line, int64_t now_ms) {
  std::lock_guard lock(mutex_);
  if (now_ms / 1000 != second_) {
    second_ = now_ms / 1000;
    refusals_ = 0;
  }
  if (refusals_ >= kRefusals) {
    ++omitted_;
    return absl::OkStatus();
  }
  ++refusals_;
  return WriteLocked(line, now_ms);
}

// One write of a line: lines of several schedulers in one file stay whole.
absl::Status AuditLog::WriteLocked(v1::AuditLine& line, int64_t now_ms) {
  line.set_time(Time(now_ms));
  line.set_omitted(omitted_);
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string json;
  if (!google::protobuf::util::MessageToJsonString(line, &json, options).ok())
    return absl::InternalError("an audit line is no UTF-8");
  json += '\n';
  const ssize_t written = write(fd_, json.data(), json.size());
  if (written != static_cast<ssize_t>(json.size()))
    return ErrnoStatus(written < 0 ? errno : ENOSPC, "cannot write the audit log", path_);
  omitted_ = 0;
  return absl::OkStatus();
}

}  // namespace tiltshift::access
