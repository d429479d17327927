#include "monitoring/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/scrape.h"

namespace tiltshift::monitoring {
namespace {

using ::testing::HasSubstr;
using tests::FreePort;
using tests::Scrape;

TEST(Metrics, AreServedByTheirNames) {
  Registry registry;
  SchedulerMetrics scheduler(registry);
  WorkerMetrics worker(registry);
  const int port = FreePort();
  ASSERT_TRUE(registry.Serve("127.0.0.1:" + std::to_string(port)).ok());
  scheduler.variants_committed.Add(3);
  scheduler.queue_variants.Set(17);
  scheduler.jobs_running.Add(2);
  { const Timer timer(scheduler.list_jobs_seconds); }
  scheduler.RedisSeconds("ts_turns").Observe(0.00015);
  scheduler.RedisSeconds("what nobody knows").Observe(0.1);
  worker.Of("diorama").decode_seconds.Observe(0.03);
  const std::string text = Scrape(port);
  EXPECT_THAT(text, HasSubstr("tiltshift_variants_committed_total 3"));
  EXPECT_THAT(text, HasSubstr("tiltshift_queue_variants 17"));
  EXPECT_THAT(text, HasSubstr("tiltshift_jobs{state=\"running\"} 2"));
  EXPECT_THAT(text, HasSubstr("tiltshift_grpc_seconds_count{method=\"ListJobs\"} 1"));
  EXPECT_THAT(text,
              HasSubstr("tiltshift_redis_seconds_bucket{function=\"ts_turns\",le=\"0.0002\"} 1"));
  EXPECT_THAT(text, HasSubstr("tiltshift_redis_seconds_count{function=\"other\"} 1"));
  EXPECT_THAT(
      text,
      HasSubstr(
          "tiltshift_render_seconds_count{device=\"cpu\",model=\"diorama\",stage=\"decode\"} 1"));
  EXPECT_THAT(text,
              HasSubstr("# HELP tiltshift_leases_expired_total Leases whose worker fell silent"));
  for (int i = 0; i < 100; ++i) worker.Of(std::to_string(i)).images_rendered.Add();
  const std::string more = Scrape(port);
  EXPECT_THAT(more, HasSubstr("tiltshift_images_rendered_total{device=\"cpu\",model=\"38\"} 1"));
  EXPECT_THAT(more,
              HasSubstr("tiltshift_images_rendered_total{device=\"cpu\",model=\"other\"} 61"));
  Registry second;
  const absl::Status taken = second.Serve("127.0.0.1:" + std::to_string(port));
  EXPECT_EQ(taken.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(taken.message()), HasSubstr("choose another port with --metrics"));
}

}  // namespace
}  // namespace tiltshift::monitoring
