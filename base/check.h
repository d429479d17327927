// Checks that stay on in production: a programmer's error stops the process with its place and
// reason before it can damage state. Input from outside never reaches one; it gets an absl::Status.
#pragma once

namespace tiltshift {
[[noreturn]] void CheckFailed(const char* file, int line, const char* what);
}  // namespace tiltshift

#define TS_CHECK(condition) \
  ((condition) ? (void)0 : ::tiltshift::CheckFailed(__FILE__, __LINE__, #condition))
