#include "tests/support/redis_server.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

namespace tiltshift::tests {
namespace {

// Sends PING; true where it is answered, or a password is asked for.
bool Answers(const std::string& path) {
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  char reply[64] = {0};
  const bool ok = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 &&
                  write(fd, "PING\r\n", 6) == 6 && read(fd, reply, sizeof(reply) - 1) > 0 &&
                  (reply[0] == '+' || std::strncmp(reply, "-NOAUTH", 7) == 0);
  close(fd);
  return ok;
}

}  // namespace

bool RedisServer::HasFunctions() {
  Process version({"redis-server", "--version"}, ::testing::TempDir());
  EXPECT_EQ(version.Wait(20'000), 0) << version.Errors();
  const std::string said = version.Output();
  const size_t number = said.find(" v=");
  return number != std::string::npos && std::atoi(said.c_str() + number + 3) >= 7;
}

RedisServer::RedisServer(const std::string& folder, std::vector<std::string> options)
    : folder_(folder),
      socket_("/tmp/ts-redis-" + std::to_string(getpid())),
      options_(std::move(options)) {
  Start();
}

void RedisServer::Start() {
  std::vector<std::string> command = {"redis-server",
                                      "--port",
                                      "0",
                                      "--unixsocket",
                                      socket_,
                                      "--dir",
                                      folder_,
                                      "--appendonly",
                                      "yes",
                                      "--appendfsync",
                                      "everysec",
                                      "--save",
                                      ""};
  command.insert(command.end(), options_.begin(), options_.end());
  process_ = std::make_unique<Process>(command, folder_);
  ASSERT_TRUE(WaitFor([&] { return Answers(socket_); }, 20'000)) << process_->Output();
}

void RedisServer::KillMinus9() {
  process_->Signal(SIGKILL);
  process_->Wait(10'000);
}

}  // namespace tiltshift::tests
