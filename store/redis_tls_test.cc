// TLS against a real redis-server, with certificates made for the test.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "store/redis_client.h"
#include "tests/support/redis_server.h"
#include "tests/support/scrape.h"

namespace tiltshift::store {
namespace {

using ::testing::HasSubstr;

class RedisTlsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"ca", "other-ca"}) {
      OpenSsl({"req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
               "-nodes", "-days", "2", "-subj", std::string("/CN=") + name, "-keyout",
               File(std::string(name) + ".key"), "-out", File(std::string(name) + ".crt")});
    }
    Sign("server", "DNS:localhost,IP:127.0.0.1");
    Sign("client", "DNS:scheduler");
  }
  std::string File(const std::string& name) const { return folder_ + "/" + name; }
  void OpenSsl(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "openssl");
    tests::Process process(arguments, folder_);
    ASSERT_EQ(process.Wait(20'000), 0) << process.Errors();
  }
  void Sign(const std::string& name, const std::string& names) {
    OpenSsl({"req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
             "/CN=" + name, "-keyout", File(name + ".key"), "-out", File(name + ".csr")});
    ASSERT_TRUE(
        WriteFileAtomic(File(name + ".ext"), "subjectAltName=" + names, IfPresent::kReplace).ok());
    OpenSsl({"x509", "-req", "-in", File(name + ".csr"), "-CA", File("ca.crt"), "-CAkey",
             File("ca.key"), "-CAcreateserial", "-days", "2", "-extfile", File(name + ".ext"),
             "-out", File(name + ".crt")});
  }
  void StartServer(const std::string& auth_clients) {
    server_ = std::make_unique<tests::RedisServer>(
        folder_, std::vector<std::string>{
                     "--tls-port", std::to_string(port_), "--tls-cert-file", File("server.crt"),
                     "--tls-key-file", File("server.key"), "--tls-ca-cert-file", File("ca.crt"),
                     "--tls-auth-clients", auth_clients, "--requirepass", "s3cret"});
  }
  RedisAddress Address(const std::string& host = "127.0.0.1", const std::string& ca = "ca.crt") {
    auto address = ParseRedisAddress("rediss://:s3cret@" + host + ":" + std::to_string(port_));
    EXPECT_TRUE(address.ok()) << address.status();
    address->tls_files.ca_file = File(ca);
    return *address;
  }
  static absl::Status Ping(const RedisAddress& address) {
    RedisClient client(address, {.timeout_ms = 10'000});
    return client.Run({"PING"}).status();
  }

  const std::string folder_ = tests::FreshFolder();
  const int port_ = tests::FreePort();
  std::unique_ptr<tests::RedisServer> server_;
};

TEST_F(RedisTlsTest, ByAddressAndByNameWithMuchInAPipeline) {
  StartServer("no");
  RedisClient client(Address());
  const std::string megabyte(1 << 20, 'x');
  std::vector<RedisCommand> commands;
  for (int i = 0; i < 20; ++i) commands.push_back({"SET", std::to_string(i), megabyte});
  commands.push_back({"GET", "19"});
  const auto replies = client.RunAll(commands);
  ASSERT_TRUE(replies.ok()) << replies.status();
  EXPECT_EQ(replies->back().text, megabyte);
  EXPECT_TRUE(Ping(Address("localhost")).ok()) << Ping(Address("localhost"));
}

TEST_F(RedisTlsTest, AServerThatDiesAndComesBack) {
  StartServer("no");
  ManualClock clock;
  RedisClient client(Address(), {.clock = clock, .seed = 1});
  ASSERT_TRUE(client.Run({"PING"}).ok());
  server_->KillMinus9();
  const absl::Status gone = client.Run({"PING"}).status();
  EXPECT_EQ(gone.code(), absl::StatusCode::kUnavailable) << gone;
  server_->Start();
  EXPECT_TRUE(tests::WaitFor(
      [&] {
        clock.AdvanceMs(2'000);
        return client.Run({"PING"}).ok();
      },
      10'000));
}

TEST_F(RedisTlsTest, ACertificateThatIsNotValidIsRefused) {
  StartServer("no");
  const absl::Status stranger = Ping(Address("127.0.0.1", "other-ca.crt"));
  EXPECT_EQ(stranger.code(), absl::StatusCode::kPermissionDenied) << stranger;
  EXPECT_THAT(std::string(stranger.message()),
              HasSubstr("certificate is not valid for 127.0.0.1: "));
  EXPECT_THAT(std::string(stranger.message()), HasSubstr("--redis-ca"));
  // Another machine's certificate, of the right CA.
  Sign("server", "DNS:elsewhere");
  server_.reset();
  StartServer("no");
  for (const char* host : {"localhost", "127.0.0.1"}) {
    const absl::Status other = Ping(Address(host));
    EXPECT_EQ(other.code(), absl::StatusCode::kPermissionDenied) << other;
    EXPECT_THAT(std::string(other.message()), HasSubstr("mismatch"));
  }
}

TEST_F(RedisTlsTest, AServerThatAsksForOurCertificate) {
  StartServer("yes");
  const absl::Status none = Ping(Address());
  EXPECT_FALSE(none.ok());
  EXPECT_THAT(std::string(none.message()), HasSubstr("--redis-cert"));
  RedisAddress address = Address();
  address.tls_files.cert_file = File("client.crt");
  address.tls_files.key_file = File("client.key");
  EXPECT_TRUE(Ping(address).ok()) << Ping(address);
  address.tls_files.key_file = File("ca.key");
  const absl::Status wrong = Ping(address);
  EXPECT_EQ(wrong.code(), absl::StatusCode::kInvalidArgument) << wrong;
  EXPECT_THAT(std::string(wrong.message()), HasSubstr("ca.key: "));
}

TEST_F(RedisTlsTest, WhereOneSideSpeaksInTheClear) {
  StartServer("no");
  RedisAddress clear = Address();
  clear.tls = false;
  EXPECT_EQ(Ping(clear).code(), absl::StatusCode::kUnavailable) << Ping(clear);
  const int port = tests::FreePort();
  server_.reset();
  server_ = std::make_unique<tests::RedisServer>(
      folder_, std::vector<std::string>{"--port", std::to_string(port)});
  RedisAddress tls = Address();
  tls.port = port;
  EXPECT_FALSE(Ping(tls).ok());
  tls.tls_files.ca_file = File("nothing");
  EXPECT_EQ(Ping(tls).code(), absl::StatusCode::kInvalidArgument) << Ping(tls);
}

}  // namespace
}  // namespace tiltshift::store
