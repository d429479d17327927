#include "monitoring/metrics.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

namespace tiltshift::monitoring {
namespace {

using ::testing::HasSubstr;

std::string Scrape(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  const std::string request = "GET /metrics HTTP/1.0\r\n\r\n";
  EXPECT_EQ(write(fd, request.data(), request.size()), static_cast<ssize_t>(request.size()));
  std::string text;
  char block[4096];
  for (ssize_t n; (n = read(fd, block, sizeof(block))) > 0;)
    text.append(block, static_cast<size_t>(n));
  close(fd);
  return text;
}

int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address));
  socklen_t size = sizeof(address);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  close(fd);
  return ntohs(address.sin_port);
}

TEST(Metrics, AreServedByTheirNames) {
  Registry registry;
  SchedulerMetrics scheduler(registry);
  WorkerMetrics worker(registry);
  const int port = FreePort();
  ASSERT_TRUE(registry.Serve("127.0.0.1:" + std::to_string(port)).ok());
  scheduler.variants_committed.Add(3);
  scheduler.queue_variants.Set(17);
  worker.decode_seconds.Observe(0.03);
  const std::string text = Scrape(port);
  EXPECT_THAT(text, HasSubstr("tiltshift_variants_committed_total 3"));
  EXPECT_THAT(text, HasSubstr("tiltshift_queue_variants 17"));
  EXPECT_THAT(text, HasSubstr("tiltshift_render_seconds_bucket{stage=\"decode\",le=\"0.05\"} 1"));
  EXPECT_THAT(text,
              HasSubstr("# HELP tiltshift_leases_expired_total Leases whose worker fell silent"));
  Registry second;
  const absl::Status taken = second.Serve("127.0.0.1:" + std::to_string(port));
  EXPECT_EQ(taken.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(taken.message()), HasSubstr("choose another port with --metrics"));
}

}  // namespace
}  // namespace tiltshift::monitoring
