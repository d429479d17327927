// The gallery in a real Chromium, by gallery_walk.py: every page and every action of a visitor, on
// a farm that renders, with tokens.
#include <gmock/gmock.h>

#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "tests/support/folder_test.h"
#include "tests/support/process.h"
#include "tests/support/redis_server.h"
#include "tests/support/scheduler_process.h"
#include "tests/support/scrape.h"

namespace tiltshift::tests {
namespace {

namespace fs = std::filesystem;

constexpr int kPatienceMs = 60'000;

class GalleryBrowser : public FolderTest {
 protected:
  void SetUp() override {
    if (std::system("command -v chromium-headless-shell chromium >/dev/null") != 0)
      GTEST_SKIP() << "no Chromium here; scripts/setup installs one";
    scheduler_ = std::make_unique<SchedulerProcess>(
        folder_, redis_.address(),
        std::vector<std::string>{"--auth", "on", "--first-token", token_, "--gallery",
                                 "127.0.0.1:" + std::to_string(port_)});
    ASSERT_TRUE(scheduler_->Leads()) << scheduler_->process().Output();
    ASSERT_TRUE(WaitFor([&] { return fs::exists(token_); }, kPatienceMs));
  }
  std::unique_ptr<Process> Tiltshift(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), Program("tiltshift"));
    arguments.insert(arguments.end(),
                     {"--scheduler", scheduler_->address(), "--token-file", token_});
    return std::make_unique<Process>(arguments, folder_);
  }
  // The new job's id.
  std::string Submit(const std::string& spec) {
    auto submit = Tiltshift({"submit", spec, "--json"});
    EXPECT_EQ(submit->Wait(kPatienceMs), 0) << submit->Errors();
    const std::string said = submit->Output();
    const size_t at = said.find(":\"j");
    return at == std::string::npos ? "" : said.substr(at + 2, 16);
  }
  std::string Write(const std::string& name, const std::string& text) {
    EXPECT_TRUE(WriteFileAtomic(folder_ + "/" + name, text, IfPresent::kReplace).ok());
    return folder_ + "/" + name;
  }
  // It fails what is said to be rude, until the file `kind` is there.
  void StartWorker(const std::string& token) {
    worker_ = std::make_unique<Process>(
        std::vector<std::string>{
            Program("tiltshift-worker"), "--scheduler", scheduler_->address(), "--token-file",
            token, "--blobs", folder_ + "/blobs", "--models", TILTSHIFT_SOURCE_DIR "/models",
            "--slots", "2", "--keep-free", "0", "--name", "easel", "--moderate",
            "command:[ -e " + folder_ +
                "/kind ] || ! grep -q rude || { echo 'mind your words'; exit 1; }"},
        folder_);
  }
  std::string Token(const std::string& role) {
    const std::string file = folder_ + "/" + role + ".token";
    auto create = Tiltshift({"token", "create", "--name", role, "--roles", role, "--out", file});
    EXPECT_EQ(create->Wait(kPatienceMs), 0) << create->Errors();
    return file;
  }

  const std::string token_ = folder_ + "/first.token";
  const int port_ = FreePort();
  RedisServer redis_{folder_};
  std::unique_ptr<SchedulerProcess> scheduler_;
  std::unique_ptr<Process> worker_;
};

constexpr char kRender[] = "render: {width: 64, height: 64, steps: 2, guidance_scale: 1}\n";

TEST_F(GalleryBrowser, DoesAllThatAVisitorMay) {
  const std::string start = "model: diorama\n" + std::string(kRender);
  const std::string campaign =
      Submit(Write("campaign.yaml",
                   "kind: campaign\nname: figurines\nprompt: a miniature {color} {subject}\n"
                   "axes: {subject: [robot, cat, car], color: [red, blue], seed: {range: 1-4}}\n" +
                       start));
  const std::string rude =
      Submit(Write("rude.yaml",
                   "kind: campaign\nname: wishes\nprompt: a miniature {word} robot\n"
                   "axes: {word: [rude, kind]}\n" +
                       start));
  Write("entries.csv", "id,author,prompt\nada-1,ada,red robot\nbob-1,bob,blue cat\n");
  const std::string contest =
      Submit(Write("contest.yaml",
                   "kind: contest\nname: tiny wishes\nentries: entries.csv\n"
                   "prompt: \"a miniature {prompt}\"\naxes: {seed: {range: 1-2}}\n" +
                       start));
  const std::string big = Submit(Write(
      "big.yaml",
      "kind: campaign\nname: a hundred thousand\nprompt: a miniature {color} {n}\npriority: -50\n"
      "axes: {color: [red, blue], n: {range: 1-50000}}\n" +
          start));
  const std::string many =
      Submit(Write("many.yaml",
                   "kind: campaign\nname: a hundred rude wishes\nprompt: a miniature {word} robot\n"
                   "axes: {word: [rude], seed: {range: 1-230}}\n" +
                       start));
  const std::string worker_token = Token("worker"), read_token = Token("read");
  StartWorker(worker_token);
  Process walk({"/usr/bin/env", "python3", TILTSHIFT_SOURCE_DIR "/tests/gallery_walk.py", "--url",
                "http://127.0.0.1:" + std::to_string(port_) + "/", "--folder", folder_, "--token",
                token_, "--read-token", read_token, "--worker-token", worker_token, "--jobs",
                campaign, rude, contest, big, many},
               folder_);
  EXPECT_EQ(walk.Wait(120'000), 0)
      << walk.Output() << walk.Errors() << scheduler_->process().Output();
}

// Of two schedulers each shows the farm while it leads, and where it is shown while it does not.
TEST(GalleryOfAStandby, LeadsToTheLeaders) {
  if (std::system("command -v chromium-headless-shell chromium >/dev/null") != 0)
    GTEST_SKIP() << "no Chromium here; scripts/setup installs one";
  const std::string folder = FreshFolder();
  RedisServer redis(folder);
  const int ports[] = {FreePort(), FreePort()};
  std::vector<std::string> urls;
  std::vector<std::unique_ptr<SchedulerProcess>> schedulers;
  for (const int port : ports) {
    const std::string address = "127.0.0.1:" + std::to_string(port);
    urls.push_back("http://" + address + "/");
    schedulers.push_back(std::make_unique<SchedulerProcess>(
        folder, redis.address(), std::vector<std::string>{"--gallery", address}));
    if (schedulers.size() == 1) {
      ASSERT_TRUE(schedulers[0]->Leads());
    }
  }
  Process walk({"/usr/bin/env", "python3", TILTSHIFT_SOURCE_DIR "/tests/gallery_standby.py",
                "--folder", folder, "--leader", urls[0], "--leader-pid",
                std::to_string(schedulers[0]->process().pid()), "--standby", urls[1]},
               folder);
  EXPECT_EQ(walk.Wait(60'000), 0) << walk.Output() << walk.Errors()
                                  << schedulers[1]->process().Output();
}

}  // namespace
}  // namespace tiltshift::tests
