#include "tests/support/s3_server.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>

#include "tests/support/scrape.h"

namespace tiltshift::tests {
namespace {

constexpr char kPython[] = TILTSHIFT_SOURCE_DIR "/build/s3-server/bin/python";
constexpr char kScript[] = TILTSHIFT_SOURCE_DIR "/tests/support/s3_server.py";

}  // namespace

std::string S3Server::Missing() {
  // Made last by scripts/setup, so that half an environment is none.
  if (access(TILTSHIFT_SOURCE_DIR "/build/s3-server/complete", F_OK) == 0) return "";
  return "the S3 server for tests is not installed; scripts/setup does it, or says why it can't";
}

S3Server::S3Server(const std::string& folder, std::vector<std::string> options)
    : folder_(folder), options_(std::move(options)), port_(FreePort()) {
  Start();
}

void S3Server::Start() {
  std::vector<std::string> command = {kPython, kScript, std::to_string(port_)};
  command.insert(command.end(), options_.begin(), options_.end());
  process_ = std::make_unique<Process>(command, folder_);
  ASSERT_TRUE(WaitFor(
      [&] {
        return process_->Output().find("ready\n") != std::string::npos || !process_->Running();
      },
      60'000));
  ASSERT_TRUE(process_->Running()) << process_->Errors();
  std::istringstream said(process_->Output());
  for (std::string word; said >> word;)
    if (word == "credentials") said >> access_key_ >> secret_key_;
}

void S3Server::KillMinus9() {
  process_->Signal(SIGKILL);
  process_->Wait(10'000);
}

std::string S3Server::endpoint() const {
  const bool tls = std::count(options_.begin(), options_.end(), "--tls") > 0;
  return (tls ? "https://localhost:" : "http://127.0.0.1:") + std::to_string(port_);
}

void S3Server::SetEnvironment() const {
  for (const char* name : {"AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION",
                           "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE"})
    unsetenv(name);
  setenv("AWS_ENDPOINT_URL", endpoint().c_str(), 1);
  setenv("AWS_ACCESS_KEY_ID", access_key_.c_str(), 1);
  setenv("AWS_SECRET_ACCESS_KEY", secret_key_.c_str(), 1);
  setenv("no_proxy", "127.0.0.1,localhost", 1);
}

}  // namespace tiltshift::tests
