// Moderation through a farm: a submission refused, entries that fail with the reason while others
// are published.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/file.h"
#include "base/hash.h"
#include "picture/png.h"
#include "tests/support/folder_test.h"
#include "tests/support/process.h"
#include "tests/support/redis_server.h"

namespace tiltshift::tests {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using ::testing::UnorderedElementsAre;

constexpr int kLongMs = 60'000;

class ModerationFarmTest : public FolderTest {
 protected:
  void SetUp() override {
    redis_ = std::make_unique<RedisServer>(folder_);
    setenv("TS_FARM_KEY", RandomHex(32).c_str(), 1);
    scheduler_ = Start({"tiltshift-scheduler", "--listen", address_, "--redis", redis_->address(),
                        "--leader-ttl-ms", "600", "--farm-key", "env:TS_FARM_KEY", "--moderate",
                        "command:grep -q RUDE && { echo 'mind your words'; exit 1; } || exit 0"});
    ASSERT_TRUE(WaitFor([&] { return Run({"list"}).code == 0; }, kLongMs));
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
  // Lines of what the moderator was asked.
  std::vector<std::string> Asked() const {
    std::vector<std::string> lines;
    std::ifstream file(folder_ + "/asked.txt");
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    return lines;
  }
  size_t Published() const {
    size_t count = 0;
    for (const auto& entry : fs::recursive_directory_iterator(folder_ + "/blobs"))
      count += entry.path().extension() == ".png";
    return count;
  }

  std::string address_ = "unix:/tmp/ts-moderation-" + std::to_string(getpid());
  std::unique_ptr<RedisServer> redis_;
  std::unique_ptr<Process> scheduler_, worker_;
};

TEST_F(ModerationFarmTest, ASubmissionWithAVetoedTextIsRefused) {
  for (const char* spec : {"name: a\nmodel: m\nprompt: a RUDE {n}\naxes: {n: [cat]}\n",
                           "name: a\nmodel: m\nprompt: a {n}\naxes: {n: [cat, RUDE]}\n"}) {
    const Ran ran = Run({"submit", Put("spec.yaml", spec)});
    EXPECT_NE(ran.code, 0);
    EXPECT_THAT(ran.errors, HasSubstr("refused by moderation: mind your words"));
  }
  EXPECT_FALSE(fs::exists(folder_ + "/blobs/jobs"));
}

// The worker's moderator writes down what it is asked, and says no to a word, to what comes from
// one entrant's photo, and to one picture.
TEST_F(ModerationFarmTest, WhatIsVetoedEndsAtOnceAndOthersArePublished) {
  StartWorker("command:echo $TILTSHIFT_REVIEW $TILTSHIFT_ENTRY >>" + folder_ +
              "/asked.txt;"
              "case $TILTSHIFT_REVIEW-$TILTSHIFT_ENTRY in"
              " prompt-*) if grep -q RUDE; then echo 'mind your words'; exit 1; fi;;"
              " photo-face) head -c 4 | grep -q PNG && echo 'no faces'; exit 1;;"
              " output-ugly) echo 'not this one'; exit 1;;"
              " esac");
  std::vector<uint8_t> rgb(400 * 400 * 3, 120);
  const std::string png = *picture::EncodePng(400, 400, rgb);
  for (const char* name : {"a.png", "b.png", "c.png"}) Put(name, png);
  Put("entries.csv",
      "id,prompt,photo\ngood,a kind cat,a.png\nrude,a RUDE cat,b.png\nugly,a plain cat,\n"
      "face,a cat,c.png\nfine,a small cat,\n");
  const Ran ran =
      Run({"submit", "--watch", "--json",
           Put("spec.yaml",
               "kind: contest\nname: a\nmodel: m\nentries: entries.csv\nprompt: \"{prompt}\"\n")});
  EXPECT_EQ(ran.code, 1) << ran.errors;
  EXPECT_EQ(Published(), 2u);
  const std::string job =
      nlohmann::json::parse(ran.output.substr(0, ran.output.find('\n')))["job_id"];
  EXPECT_THAT(Run({"entries", job, "--failed"}).output,
              AllOf(HasSubstr("refused by moderation: mind your words"),
                    HasSubstr("refused by moderation: no faces"),
                    HasSubstr("refused by moderation: not this one")));
  EXPECT_THAT(Asked(),
              UnorderedElementsAre("prompt good", "photo good", "output good", "prompt rude",
                                   "prompt ugly", "output ugly", "prompt face", "photo face",
                                   "prompt fine", "output fine"));
  Run({"retry", job});  // by hand: asked again about what was refused
  EXPECT_TRUE(WaitFor([&] { return Asked().size() == 12; }, kLongMs));
  EXPECT_THAT(Asked(), IsSupersetOf({"prompt rude", "prompt rude", "output ugly", "output ugly"}));
}

TEST_F(ModerationFarmTest, EveryFailureCanBeListed) {
  StartWorker("command:echo 'not today'; exit 1");
  const Ran ran =
      Run({"submit", "--watch", "--json",
           Put("spec.yaml", "name: a\nmodel: m\nprompt: a cat\naxes: {n: {range: 1-30}}\n")});
  EXPECT_EQ(ran.code, 1) << ran.errors;
  const std::string job =
      nlohmann::json::parse(ran.output.substr(0, ran.output.find('\n')))["job_id"];
  EXPECT_THAT(Run({"status", job}).output,
              HasSubstr("and 25 more: `tiltshift status " + job + " --failed` lists them all"));
  std::istringstream all(Run({"status", job, "--failed"}).output);
  int listed = 0;
  for (std::string line; std::getline(all, line); ++listed) {
    EXPECT_EQ(line, absl::StrCat("variant ", listed,
                                 " failed after 1 attempt: ", "refused by moderation: not today"));
  }
  EXPECT_EQ(listed, 30);
}

}  // namespace
}  // namespace tiltshift::tests
