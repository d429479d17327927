// The whole farm on the emulated card, as its user runs it: the command, a real worker process, its
// card that faults and its card that is full.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>

#include "base/file.h"
#include "base/hash.h"
#include "engine/renderer.h"
#include "kernels/emulation/card.h"
#include "tests/support/folder_test.h"
#include "tests/support/process.h"

namespace tiltshift::tests {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr int kLongMs = 240'000;
constexpr char kModels[] = TILTSHIFT_SOURCE_DIR "/models";
constexpr char kSpec[] =
    "name: small\nmodel: diorama\nprompt: \"a miniature {color} robot\"\naxes: {color: [red, "
    "blue]}\n"
    "render: {width: 64, height: 64, steps: 1, guidance_scale: 2}\noutput: {name: \"{color}\"}\n";

// The environment of the processes that are started while it lives.
class Environment {
 public:
  Environment(const char* name, const std::string& value) : name_(name) {
    setenv(name, value.c_str(), 1);
  }
  ~Environment() { unsetenv(name_); }

 private:
  const char* name_;
};

class EmulatedCardTest : public FolderTest {
 protected:
  void SetUp() override {
    ASSERT_TRUE(WriteFileAtomic(folder_ + "/spec.yaml", kSpec, IfPresent::kReplace).ok());
  }

  struct Outcome {
    std::string errors, log;
    std::map<std::string, std::string> hashes;  // file name -> SHA-256
  };
  // With two slots into folder `out`.
  Outcome Render(const std::string& out) {
    Outcome outcome;
    const std::string path = folder_ + "/" + out;
    Process process({Program("tiltshift"), "render", folder_ + "/spec.yaml", "--out", path,
                     "--models", kModels, "--no-sheet", "--device", "cuda", "--slots", "2"},
                    folder_);
    EXPECT_EQ(process.Wait(kLongMs), 0) << process.Errors();
    outcome.errors = process.Errors();
    outcome.log = ReadFile(path + "/.tiltshift/logs/tiltshift-worker.log").value_or("");
    for (const auto& entry : fs::directory_iterator(path)) {
      if (entry.path().extension() != ".png") continue;
      outcome.hashes[entry.path().filename()] = Sha256Hex(*ReadFile(entry.path()));
    }
    return outcome;
  }
};

// A megabyte number between what one slot takes and what two take.
int MemoryForOneSlot() {
  const auto model =
      engine::Model::Load(std::string(kModels) + "/diorama", {.device = engine::Device::kCuda});
  EXPECT_TRUE(model.ok()) << model.status();
  const engine::RenderRequest request = {.prompt = "a miniature red robot",
                                         .width = 64,
                                         .height = 64,
                                         .steps = 1,
                                         .guidance_scale = 2};
  engine::Renderer first(*model), second(*model);
  EXPECT_TRUE(first.Render(request).ok());
  const size_t one = emulation::TheCard().memory().bytes_in_use();
  EXPECT_TRUE(second.Render(request).ok());
  const size_t two = emulation::TheCard().memory().bytes_in_use();
  const int megabytes = static_cast<int>((one + two) / 2 / 1'000'000);
  EXPECT_GT(megabytes * 1'000'000ull, one);
  EXPECT_LT(megabytes * 1'000'000ull, two);
  return megabytes;
}

TEST_F(EmulatedCardTest, FaultsAndFullCardsChangeNoPicture) {
  const Outcome expected = Render("well");
  EXPECT_EQ(expected.hashes.size(), 2u);
  EXPECT_THAT(expected.errors, HasSubstr("the card is emulated"));

  const std::string fault = folder_ + "/fault";
  ASSERT_TRUE(WriteFileAtomic(fault, "300\n", IfPresent::kReplace).ok());
  {
    const Environment environment("TILTSHIFT_EMULATED_FAULT", fault);
    const Outcome faulted = Render("faulted");
    EXPECT_EQ(faulted.hashes, expected.hashes);
    EXPECT_THAT(faulted.errors, HasSubstr("tiltshift-worker ended (exit code 1)"));
    EXPECT_THAT(faulted.log, HasSubstr("cudaErrorLaunchFailure; a new process is needed"));
  }
  EXPECT_FALSE(fs::exists(fault));

  const Environment environment("TILTSHIFT_EMULATED_MEMORY_MB", std::to_string(MemoryForOneSlot()));
  const Outcome full = Render("full");
  EXPECT_EQ(full.hashes, expected.hashes);
  EXPECT_THAT(full.log, HasSubstr("one slot less"));
}

}  // namespace
}  // namespace tiltshift::tests
