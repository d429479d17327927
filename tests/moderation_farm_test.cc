// Moderation through a farm: a submission refused, entries that fail with the reason while others
// are published.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"
#include "tests/support/process.h"
#include "tests/support/redis_server.h"

namespace tiltshift::tests {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int kLongMs = 60'000;

class ModerationFarmTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = FreshFolder();
    redis_ = std::make_unique<RedisServer>(folder_);
    scheduler_ = Start({"tiltshift-scheduler", "--listen", address_, "--redis", redis_->address(),
                        "--leader-ttl-ms", "600", "--moderate",
                        "command:grep -q RUDE && { echo 'mind your words'; exit 1; } || exit 0"});
    ASSERT_TRUE(WaitFor([&] { return Run({"list"}).code == 0; }, kLongMs));
  }
  void TearDown() override {
    if (!HasFailure()) fs::remove_all(folder_);
  }

  std::unique_ptr<Process> Start(std::vector<std::string> arguments) {
    arguments[0] = Program(arguments[0]);
    arguments.insert(arguments.end(), {"--blobs", folder_ + "/blobs"});
    return std::make_unique<Process>(arguments, folder_);
  }
  void StartWorker(const std::string& moderate) {
    worker_ = Start({"tiltshift-worker", "--scheduler", address_, "--render", "noop", "--slots",
                     "2", "--keep-free", "0", "--moderate", moderate});
  }
  struct Ran {
    int code;
    std::string output, errors;
  };
  Ran Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), Program("tiltshift"));
    arguments.insert(arguments.end(), {"--scheduler", address_});
    Process process(arguments, folder_);
    const int code = process.Wait(kLongMs);
    return {code, process.Output(), process.Errors()};
  }
  std::string Put(const std::string& name, const std::string& text) {
    EXPECT_TRUE(WriteFileAtomic(folder_ + "/" + name, text, IfPresent::kReplace).ok());
    return folder_ + "/" + name;
  }
  size_t Published() const {
    size_t count = 0;
    for (const auto& entry : fs::recursive_directory_iterator(folder_ + "/blobs"))
      count += entry.path().extension() == ".png";
    return count;
  }

  std::string folder_, address_ = "unix:/tmp/ts-moderation-" + std::to_string(getpid());
  std::unique_ptr<RedisServer> redis_;
  std::unique_ptr<Process> scheduler_, worker_;
};

TEST_F(ModerationFarmTest, ASubmissionWithAVetoedTextIsRefused) {
  for (const char* spec : {"name: a\nmodel: m\nprompt: a RUDE {n}\naxes: {n: [cat]}\n",
                           "name: a\nmodel: m\nprompt: a {n}\naxes: {n: [cat, RUDE]}\n"}) {
    const Ran ran = Run({"submit", Put("spec.yaml", spec)});
    EXPECT_NE(ran.code, 0);
    EXPECT_THAT(ran.errors, HasSubstr("vetoed: mind your words"));
  }
  EXPECT_FALSE(fs::exists(folder_ + "/blobs/jobs"));
}

TEST_F(ModerationFarmTest, VetoedEntriesFailAndOthersArePublished) {
  StartWorker(
      "command:case $TILTSHIFT_REVIEW-$TILTSHIFT_ENTRY in"
      " prompt-*) if grep -q RUDE; then echo 'mind your words'; exit 1; fi;;"
      " output-ugly*) echo 'not this one'; exit 1;;"
      " esac");
  Put("entries.csv", "id,prompt\ngood,a kind cat\nrude,a RUDE cat\nugly,a plain cat\nfine,a cat\n");
  const Ran ran =
      Run({"submit", "--watch",
           Put("spec.yaml",
               "kind: contest\nname: a\nmodel: m\nentries: entries.csv\nprompt: \"{prompt}\"\n")});
  EXPECT_EQ(ran.code, 1) << ran.errors;
  const std::string all = ran.output + ran.errors;
  EXPECT_THAT(all, AllOf(HasSubstr("vetoed: mind your words"), HasSubstr("vetoed: not this one")));
  EXPECT_EQ(Published(), 2u);
}

}  // namespace
}  // namespace tiltshift::tests
