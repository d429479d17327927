// `tiltshift render` as its user runs it: real redis-server, scheduler, worker and the built-in
// model, killed, interrupted, and given what it can't use.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "base/file.h"
#include "base/hash.h"
#include "tests/support/folder_test.h"
#include "tests/support/process.h"

namespace tiltshift::tests {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr int kLongMs = 240'000;

// 64x64 in two steps: the whole engine, in little time.
std::string SmallCampaign(int seeds) {
  return "name: small\nmodel: diorama\nprompt: \"a miniature {color} {subject}\"\n"
         "axes:\n  subject: [robot, cat]\n  color: [red, blue]\n  seed: {range: 1-" +
         std::to_string(seeds) +
         "}\n"
         "render: {width: 64, height: 64, steps: 2, guidance_scale: 2}\n"
         "output: {name: \"{subject}-{color}-{seed}\"}\n";
}

class RenderE2e : public FolderTest {
 protected:
  std::string WriteSpec(const std::string& text) {
    const std::string path = folder_ + "/spec.yaml";
    EXPECT_TRUE(WriteFileAtomic(path, text, IfPresent::kReplace).ok());
    return path;
  }
  std::vector<std::string> Render(const std::string& spec, const std::string& out,
                                  std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {Program("tiltshift"),
                                          "render",
                                          spec,
                                          "--out",
                                          out,
                                          "--models",
                                          std::string(TILTSHIFT_SOURCE_DIR) + "/models",
                                          "--no-sheet"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  // Runs to the end; the exit code.
  int Run(const std::vector<std::string>& arguments, std::string* errors = nullptr,
          std::string* output = nullptr) {
    Process process(arguments, folder_);
    const int code = process.Wait(kLongMs);
    if (errors != nullptr) *errors = process.Errors();
    if (output != nullptr) *output = process.Output();
    return code;
  }
  // File name -> SHA-256 of what is in it.
  static std::map<std::string, std::string> Hashes(const std::string& out) {
    std::map<std::string, std::string> hashes;
    for (const auto& entry : fs::directory_iterator(out)) {
      if (entry.path().extension() == ".png")
        hashes[entry.path().filename()] = Sha256Hex(*ReadFile(entry.path()));
    }
    return hashes;
  }
  static std::vector<nlohmann::json> Manifest(const std::string& out) {
    std::vector<nlohmann::json> lines;
    std::istringstream text(*ReadFile(out + "/manifest.jsonl"));
    for (std::string line; std::getline(text, line);) lines.push_back(nlohmann::json::parse(line));
    return lines;
  }
  static size_t Stored(const std::string& out) {
    size_t count = 0;
    std::error_code error;
    for (fs::recursive_directory_iterator it(out + "/.tiltshift/blobs", error), end; it != end;
         it.increment(error))
      count += it->path().extension() == ".png";
    return count;
  }
};

TEST_F(RenderE2e, PicturesManifestAndSheet) {
  const std::string spec = WriteSpec(SmallCampaign(2)), out = folder_ + "/out";
  auto arguments = Render(spec, out, {"--json"});
  arguments.erase(std::find(arguments.begin(), arguments.end(), "--no-sheet"));
  std::string output;
  ASSERT_EQ(Run(arguments, nullptr, &output), 0);
  const auto hashes = Hashes(out);
  EXPECT_EQ(hashes.size(), 8u + 1);  // and sheet.png
  const auto manifest = Manifest(out);
  ASSERT_EQ(manifest.size(), 8u);
  for (size_t i = 0; i < manifest.size(); ++i) {
    EXPECT_EQ(manifest[i]["index"], std::to_string(i));
    EXPECT_EQ(manifest[i]["sha256"], hashes.at(manifest[i]["name"]));
    EXPECT_THAT(std::string(manifest[i]["render_class"]), HasSubstr("cpu"));
  }
  EXPECT_THAT(output, HasSubstr("\"state\":\"done\""));
}

// What a spec says of the text reaches the picture; an empty negative prompt is what this model
// means by none.
TEST_F(RenderE2e, TheTextsSettingsCount) {
  const auto picture = [&](const std::string& name, const std::string& more) {
    const std::string spec = WriteSpec("name: text\nmodel: diorama\n" + more),
                      out = folder_ + "/" + name;
    EXPECT_EQ(Run(Render(spec, out)), 0) << more;
    return Hashes(out).at("0.png");
  };
  const std::string prompt = "prompt: a miniature red robot\n";
  const std::string small = "render: {width: 64, height: 72, steps: 2, guidance_scale: 3}\n";
  const std::string plain = picture("plain", prompt + small);
  EXPECT_EQ(picture("empty", prompt + "negative_prompt: ''\n" + small), plain);
  EXPECT_NE(picture("negative", prompt + "negative_prompt: blue\n" + small), plain);
  EXPECT_NE(picture("weight", "prompt: a miniature (red:1.5) robot\n" + small), plain);
  EXPECT_NE(
      picture(
          "skip",
          prompt + "render: {width: 64, height: 72, steps: 2, guidance_scale: 3, clip_skip: 1}\n"),
      plain);
}

// I1, I2, I4: every process of the farm killed once in the middle of a job.
TEST_F(RenderE2e, KilledProcessesChangeNothing) {
  const std::string spec = WriteSpec(SmallCampaign(35)), calm = folder_ + "/calm",
                    killed = folder_ + "/killed";
  ASSERT_EQ(Run(Render(spec, calm)), 0);
  Process render(Render(spec, killed), folder_);
  size_t threshold = 20;
  for (const char* victim : {"tiltshift-worke", "tiltshift-sched", "redis-server"}) {
    ASSERT_TRUE(WaitFor(
        [&] { return Stored(killed) >= threshold && render.ChildCalled(victim) != 0; }, kLongMs))
        << render.Errors();
    ASSERT_EQ(kill(render.ChildCalled(victim), SIGKILL), 0);
    threshold = Stored(killed) + 30;
  }
  ASSERT_EQ(render.Wait(kLongMs), 0) << render.Errors();
  EXPECT_THAT(render.Errors(), HasSubstr("redis-server ended (signal 9); starting it again"));
  const auto hashes = Hashes(killed);
  EXPECT_EQ(hashes.size(), 140u);
  EXPECT_EQ(hashes, Hashes(calm));
  std::set<std::string> different;
  for (const auto& [name, hash] : hashes) different.insert(hash);
  EXPECT_EQ(different.size(), 140u);
  std::set<std::string> indices;
  for (const auto& line : Manifest(killed))
    EXPECT_TRUE(indices.insert(line["index"].get<std::string>()).second) << line;
  EXPECT_EQ(indices.size(), 140u);
  EXPECT_THAT(render.Output(), HasSubstr("done: 140 of 140 pictures"));
}

TEST_F(RenderE2e, InterruptedGoesOnAndLeavesNoProcess) {
  const std::string spec = WriteSpec(SmallCampaign(40)), out = folder_ + "/out";
  pid_t redis = 0, scheduler = 0, worker = 0;
  {
    Process render(Render(spec, out), folder_);
    ASSERT_TRUE(WaitFor([&] { return Stored(out) >= 10; }, kLongMs)) << render.Errors();
    redis = render.ChildCalled("redis-server");
    scheduler = render.ChildCalled("tiltshift-sched");
    worker = render.ChildCalled("tiltshift-worke");
    render.Signal(SIGINT);
    EXPECT_EQ(render.Wait(kLongMs), 4);
    EXPECT_THAT(render.Errors(), HasSubstr("the same command goes on from here"));
  }
  for (const pid_t pid : {redis, scheduler, worker})
    EXPECT_NE(kill(pid, 0), 0) << "process " << pid << " is still there";
  const size_t before = Stored(out);
  EXPECT_LT(before, 160u);
  std::string output;
  ASSERT_EQ(Run(Render(spec, out), nullptr, &output), 0);
  EXPECT_EQ(Hashes(out).size(), 160u);
  EXPECT_THAT(output, HasSubstr("done: 160 of 160 pictures"));
}

// Also with a kill that leaves it no time.
TEST_F(RenderE2e, KilledParentTakesItsChildrenAlong) {
  const std::string spec = WriteSpec(SmallCampaign(20)), out = folder_ + "/out";
  pid_t redis = 0, worker = 0;
  {
    Process render(Render(spec, out), folder_);
    ASSERT_TRUE(WaitFor([&] { return Stored(out) >= 3; }, kLongMs));
    redis = render.ChildCalled("redis-server");
    worker = render.ChildCalled("tiltshift-worke");
    render.Signal(SIGKILL);
    render.Wait(kLongMs);
  }
  EXPECT_TRUE(WaitFor([&] { return kill(redis, 0) != 0 && kill(worker, 0) != 0; }, 10'000));
  ASSERT_EQ(Run(Render(spec, out)), 0);
  EXPECT_EQ(Hashes(out).size(), 80u);
}

// A picture under its name is whole, at any moment; a kill that leaves no time loses none of them.
TEST_F(RenderE2e, PicturesAppearWhileItRenders) {
  const std::string spec = WriteSpec(SmallCampaign(25)), out = folder_ + "/out";
  std::map<std::string, std::string> seen;
  {
    Process render(Render(spec, out), folder_);
    const auto look = [&] {
      if (!fs::exists(out)) return false;
      for (const auto& [name, hash] : Hashes(out)) {
        const auto [at, fresh] = seen.emplace(name, hash);
        EXPECT_EQ(at->second, hash) << name << " has changed";
      }
      return seen.size() >= 20;
    };
    ASSERT_TRUE(WaitFor(look, kLongMs)) << render.Errors();
    EXPECT_TRUE(render.Running());
    EXPECT_LT(seen.size(), 100u);
    EXPECT_FALSE(fs::exists(out + "/manifest.jsonl"));
    render.Signal(SIGKILL);
    render.Wait(kLongMs);
  }
  ASSERT_EQ(Run(Render(spec, out)), 0);
  const auto hashes = Hashes(out);
  EXPECT_EQ(hashes.size(), 100u);
  for (const auto& [name, hash] : seen) EXPECT_EQ(hashes.at(name), hash);
  for (const auto& line : Manifest(out)) {
    EXPECT_EQ(hashes.at(line["name"].get<std::string>()), line["sha256"].get<std::string>());
  }
}

TEST_F(RenderE2e, TheNextRenderRemovesTheSocketsOfAKilledOne) {
  const std::string spec = WriteSpec(SmallCampaign(50)), out = folder_ + "/out",
                    runtime = "/tmp/ts-runtime-" + std::to_string(getpid());
  fs::create_directories(runtime);
  setenv("XDG_RUNTIME_DIR", runtime.c_str(), 1);
  const auto folders = [&] { return std::distance(fs::directory_iterator(runtime), {}); };
  Process killed(Render(spec, out, {"--render", "noop"}), folder_);
  ASSERT_TRUE(WaitFor([&] { return Stored(out) >= 1; }, kLongMs)) << killed.Errors();
  killed.Signal(SIGKILL);
  killed.Wait(kLongMs);
  EXPECT_EQ(folders(), 1);
  EXPECT_EQ(Run(Render(spec, out, {"--render", "noop"})), 0);
  EXPECT_EQ(folders(), 0);
  unsetenv("XDG_RUNTIME_DIR");
  fs::remove_all(runtime);
}

// ---- bad input: one clear error each, nothing started

TEST_F(RenderE2e, BadSpecs) {
  std::string errors;
  EXPECT_EQ(Run(Render(WriteSpec("name: x\nrendr: {}\n"), folder_ + "/o"), &errors), 2);
  EXPECT_EQ(errors,
            "tiltshift: " + folder_ + "/spec.yaml:2: rendr: unknown field; did you mean render?\n");
  EXPECT_EQ(
      Run(Render(WriteSpec("name: x\nmodel: diorama\nprompt: \"{x}\"\n"), folder_ + "/o"), &errors),
      2);
  EXPECT_EQ(errors, "tiltshift: prompt, column 1: unknown name {x}; known are: {seed}, {index}\n");
  EXPECT_EQ(Run(Render(WriteSpec("name: x\nmodel: diorama\nprompt: y\naxes: {n: {range: 5-1}}\n"),
                       folder_ + "/o"),
                &errors),
            2);
  EXPECT_THAT(errors,
              HasSubstr("axes.n: range \"5-1\", column 4: from 5 to 1 goes against the step of 1"));
  EXPECT_EQ(Run(Render(folder_ + "/none.yaml", folder_ + "/o"), &errors), 2);
  EXPECT_THAT(errors, HasSubstr("cannot open " + folder_ + "/none.yaml"));
  EXPECT_FALSE(fs::exists(folder_ + "/o"));
}

TEST_F(RenderE2e, UnknownModelNamesTheKnownOnes) {
  std::string errors;
  EXPECT_EQ(Run(Render(WriteSpec("name: x\nmodel: nothere\nprompt: y\n"), folder_ + "/o"), &errors),
            2);
  EXPECT_THAT(errors, HasSubstr("model: there is no nothere in "));
  EXPECT_THAT(errors, HasSubstr("known are: diorama"));
}

TEST_F(RenderE2e, AnotherCampaignInTheFolderIsRefused) {
  const std::string out = folder_ + "/out";
  ASSERT_EQ(Run(Render(WriteSpec(SmallCampaign(1)), out, {"--render", "noop"})), 0);
  std::string errors;
  EXPECT_EQ(Run(Render(WriteSpec(SmallCampaign(2)), out, {"--render", "noop"}), &errors), 2);
  EXPECT_THAT(errors, HasSubstr("holds the pictures of another campaign"));
}

// A small disk of its own; skipped where this user may not mount one.
class SmallDisk : public RenderE2e {
 protected:
  void SetUp() override {
    out_ = folder_ + "/small";
    fs::create_directories(out_);
    mounted_ = mount("tmpfs", out_.c_str(), "tmpfs", 0, "size=4m") == 0;
    if (!mounted_) GTEST_SKIP() << "needs the right to mount a tmpfs";
  }
  void TearDown() override {
    if (mounted_) umount2(out_.c_str(), MNT_DETACH);
  }
  // More room, and the same command again: every picture is there, whole, and nothing else is.
  void ExpectNothingIsLost(const std::string& spec, size_t pictures) {
    ASSERT_EQ(mount("tmpfs", out_.c_str(), "tmpfs", MS_REMOUNT, "size=200m"), 0);
    std::string errors;
    ASSERT_EQ(Run(Render(spec, out_, {"--render", "noop"}), &errors), 0) << errors;
    const auto hashes = Hashes(out_);
    EXPECT_EQ(hashes.size(), pictures);
    EXPECT_EQ(Stored(out_), pictures);
    const auto manifest = Manifest(out_);
    EXPECT_EQ(manifest.size(), pictures);
    for (const auto& line : manifest) {
      EXPECT_EQ(hashes.at(line["name"].get<std::string>()), line["sha256"].get<std::string>());
    }
    for (const auto& entry : fs::recursive_directory_iterator(out_))
      EXPECT_EQ(entry.path().string().find(".tmp-"), std::string::npos) << entry.path();
  }

  std::string out_;
  bool mounted_ = false;
};

TEST_F(SmallDisk, NothingStartsOnANearlyFullOne) {
  std::string errors;
  EXPECT_EQ(Run(Render(WriteSpec(SmallCampaign(1)), out_, {"--render", "noop"}), &errors), 5);
  EXPECT_THAT(errors, HasSubstr("the disk of " + out_ + " is nearly full: 4."));
  EXPECT_THAT(errors, HasSubstr("64.0 MB are kept free"));
  EXPECT_THAT(errors, HasSubstr("free some space, then run the same command again"));
  EXPECT_FALSE(fs::exists(out_ + "/.tiltshift/redis"));
}

TEST_F(SmallDisk, RenderingEndsBeforeItIsFull) {
  const std::string spec = WriteSpec(SmallCampaign(500));
  std::string errors;
  EXPECT_EQ(Run(Render(spec, out_, {"--render", "noop", "--keep-free", "2"}), &errors), 5);
  EXPECT_THAT(errors, HasSubstr("is nearly full: "));
  EXPECT_THAT(errors, HasSubstr("2.0 MB are kept free"));
  EXPECT_GT(fs::space(out_).available, 1'500'000u);  // what Redis and the logs took meanwhile
  EXPECT_GT(Stored(out_), 0u);
  ExpectNothingIsLost(spec, 2000);
}

TEST_F(SmallDisk, AWriteThatFindsItFullLosesNothing) {
  const std::string spec = WriteSpec(SmallCampaign(500));
  std::string errors;
  EXPECT_EQ(Run(Render(spec, out_, {"--render", "noop", "--keep-free", "0"}), &errors), 5);
  EXPECT_THAT(errors, HasSubstr("No space left on device"));
  EXPECT_THAT(errors, HasSubstr("free some space"));
  ExpectNothingIsLost(spec, 2000);
}

TEST_F(RenderE2e, ReadOnlyFolder) {
  const std::string out = folder_ + "/readonly";
  fs::create_directories(out);
  if (mount("tmpfs", out.c_str(), "tmpfs", MS_RDONLY, "size=1m") != 0)
    GTEST_SKIP() << "needs the right to mount a tmpfs";
  std::string errors;
  const int code = Run(Render(WriteSpec(SmallCampaign(1)), out), &errors);
  umount2(out.c_str(), MNT_DETACH);
  EXPECT_EQ(code, 5);
  EXPECT_THAT(errors, HasSubstr("Read-only file system; choose a folder that can be written"));
}

// ---- the servers on their own

TEST_F(RenderE2e, SchedulerSaysThatRedisIsAway) {
  Process scheduler({Program("tiltshift-scheduler"), "--listen", "unix:" + folder_ + "/s",
                     "--redis", "unix:" + folder_ + "/none", "--blobs", folder_ + "/blobs"},
                    folder_);
  EXPECT_TRUE(WaitFor(
      [&] {
        return scheduler.Output().find("waiting: Redis at unix:" + folder_ + "/none") !=
               std::string::npos;
      },
      10'000))
      << scheduler.Output();
  EXPECT_THAT(scheduler.Output(), HasSubstr("is redis-server running, and is the address right?"));
  scheduler.Signal(SIGTERM);
  EXPECT_EQ(scheduler.Wait(10'000), 0);
}

// I7
TEST_F(RenderE2e, SchedulerRefusesToListenBeyondLoopback) {
  Process scheduler(
      {Program("tiltshift-scheduler"), "--listen", "0.0.0.0:7070", "--blobs", folder_ + "/blobs"},
      folder_);
  EXPECT_EQ(scheduler.Wait(10'000), 1);
  EXPECT_THAT(scheduler.Output(), HasSubstr("beyond this machine callers must give a token"));
}

TEST_F(RenderE2e, ClientSaysThatNoSchedulerAnswers) {
  std::string errors;
  EXPECT_EQ(
      Run({Program("tiltshift"), "list", "--scheduler", "unix:" + folder_ + "/none"}, &errors), 3);
  EXPECT_THAT(errors, HasSubstr("does not answer"));
  EXPECT_THAT(errors, HasSubstr("is --scheduler right?"));
}

}  // namespace
}  // namespace tiltshift::tests
