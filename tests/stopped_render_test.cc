// I4 over a stop: a worker that is told to leave in the middle of a picture leaves it at a step;
// another goes on from there, and the picture is the one of a worker that nobody disturbed. Real
// processes, the built-in model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>

#include "base/file.h"
#include "base/hash.h"
#include "tests/support/folder_test.h"
#include "tests/support/redis_server.h"
#include "tests/support/scheduler_process.h"
#include "tests/support/scrape.h"

namespace tiltshift::tests {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr int kPatienceMs = 60'000;
constexpr int kSteps = 600;       // at this size, some seconds of them
constexpr int kStopsAfter = 100;  // begun by a worker before it is told

class StoppedRenderTest : public FolderTest {
 protected:
  struct Worker {
    int port;
    std::unique_ptr<Process> process;
    double Metric(const std::string& name) const { return Sample(Scrape(port), name); }
  };
  void SetUp() override { ASSERT_TRUE(scheduler_.Leads()) << scheduler_.process().Output(); }
  Worker StartWorker() {
    const int port = FreePort();
    return {port, std::make_unique<Process>(
                      std::vector<std::string>{Program("tiltshift-worker"), "--scheduler",
                                               scheduler_.address(), "--blobs", Blobs(), "--models",
                                               TILTSHIFT_SOURCE_DIR "/models", "--device", "cpu",
                                               "--slots", "1", "--keep-free", "0", "--metrics",
                                               "127.0.0.1:" + std::to_string(port)},
                      folder_)};
  }
  // A spot notice, when so many steps are begun.
  static void Stop(Worker& worker) {
    ASSERT_TRUE(WaitFor([&] { return worker.Metric("tiltshift_steps_begun_total") >= kStopsAfter; },
                        kPatienceMs))
        << worker.process->Output();
    worker.process->Signal(SIGTERM);
    ASSERT_EQ(worker.process->Wait(kPatienceMs), 0) << worker.process->Output();
  }
  std::string Run(std::vector<std::string> command) {
    command.insert(command.begin(), Program("tiltshift"));
    command.insert(command.end(), {"--scheduler", scheduler_.address()});
    Process process(command, folder_);
    EXPECT_EQ(process.Wait(kPatienceMs), 0) << process.Output() << process.Errors();
    return process.Output();
  }
  // The job's id. A sampler with a history.
  std::string Submit() {
    const std::string spec = folder_ + "/spec.yaml";
    EXPECT_TRUE(WriteFileAtomic(spec,
                                "name: stopped\nmodel: diorama\nprompt: a red {thing}\n"
                                "axes: {thing: [robot]}\nrender: {width: 64, height: 64, steps: " +
                                    std::to_string(kSteps) +
                                    ", guidance_scale: 4, sampler: dpmpp_2m}\n"
                                    "output: {name: \"{thing}\"}\n",
                                IfPresent::kReplace)
                    .ok());
    const std::string said = Run({"submit", spec});
    return said.substr(0, said.find(':'));
  }
  std::string Blobs() const { return folder_ + "/blobs"; }
  std::string JobFolder(const std::string& job) const { return Blobs() + "/jobs/" + job; }
  std::vector<std::string> StoppedRenders(const std::string& job) const {
    std::vector<std::string> names;
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(JobFolder(job) + "/stopped", none))
      names.push_back(entry.path().filename());
    return names;
  }
  // Waits for its one picture.
  std::string HashOf(const std::string& job) {
    Run({"watch", job});
    const auto picture = ReadFile(JobFolder(job) + "/outputs/robot.png");
    EXPECT_TRUE(picture.ok()) << picture.status();
    return picture.ok() ? Sha256Hex(*picture) : "";
  }

  RedisServer redis_{folder_};
  SchedulerProcess scheduler_{folder_, redis_.address()};
};

TEST_F(StoppedRenderTest, I4AnotherWorkerGoesOnFromTheStep) {
  const std::string job = Submit();
  for (size_t stopped = 1; stopped <= 2; ++stopped) {
    Worker worker = StartWorker();
    Stop(worker);
    EXPECT_THAT(worker.process->Output(), HasSubstr("variant 0: stopped before step "));
    EXPECT_EQ(StoppedRenders(job).size(), stopped)
        << "the earlier one stays till the picture is there";
    EXPECT_FALSE(fs::exists(JobFolder(job) + "/outputs")) << "the render had ended";
  }
  Worker last = StartWorker();
  const std::string hash = HashOf(job);
  EXPECT_THAT(last.process->Output(), HasSubstr("variant 0: went on from step "));
  const double resumed = last.Metric("tiltshift_steps_resumed_total");
  EXPECT_GE(resumed, 2 * kStopsAfter);
  EXPECT_EQ(resumed + last.Metric("tiltshift_steps_begun_total"), kSteps) << "none was made twice";
  EXPECT_TRUE(StoppedRenders(job).empty());

  const std::string undisturbed = Submit();
  EXPECT_EQ(HashOf(undisturbed), hash);
  EXPECT_EQ(last.Metric("tiltshift_steps_resumed_total"), resumed);
  std::printf("  %.0f of %d steps made by two workers before the third\n", resumed, kSteps);
}

TEST_F(StoppedRenderTest, OfACancelledJobNothingIsLeftToGoOnWith) {
  const std::string job = Submit();
  Worker worker = StartWorker();
  Stop(worker);
  EXPECT_EQ(StoppedRenders(job).size(), 1u);
  Run({"cancel", job});
  EXPECT_TRUE(StoppedRenders(job).empty());
}

}  // namespace
}  // namespace tiltshift::tests
