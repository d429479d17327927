// Pictures of `tiltshift render`, looked at by `tiltshift verify` and by an independent reader of
// content credentials, c2pa-python, which must say the same: whole, and changed in every way.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/file.h"
#include "provenance/credentials.h"
#include "provenance/testing/certificates.h"
#include "provenance/testing/changed_png.h"
#include "tests/support/process.h"

namespace tiltshift::tests {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using provenance::ChangedChunk;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr char kPython[] = TILTSHIFT_SOURCE_DIR "/build/c2pa-reader/bin/python";
constexpr char kScript[] = TILTSHIFT_SOURCE_DIR "/tests/support/c2pa_reader.py";
constexpr int kLongMs = 240'000;

constexpr char kSpec[] =
    "name: accountable\nmodel: diorama\nprompt: \"a miniature SECRET {color} robot\"\n"
    "axes: {color: [red, blue]}\n"
    "render: {width: 64, height: 64, steps: 2, guidance_scale: 2, seed: 11}\n"
    "output: {name: \"{index}\", owner: \"Brand Ltd\", license: \"https://example.org/licence\"}\n";

struct Ran {
  int code;
  std::string output, errors;
  std::vector<json> lines() const {
    std::vector<json> lines;
    std::istringstream text(output);
    for (std::string line; std::getline(text, line);) lines.push_back(json::parse(line));
    return lines;
  }
};

class ContentCredentials : public ::testing::Test {
 protected:
  // One picture for all tests, by a farm with a state folder of its own.
  static void SetUpTestSuite() {
    folder_ = ::testing::TempDir() + "/content-credentials-" + std::to_string(getpid());
    fs::create_directories(folder_);
    setenv("XDG_STATE_HOME", (folder_ + "/state").c_str(), 1);
    Put("spec.yaml", kSpec);
    const Ran ran =
        Run({Program("tiltshift"), "render", folder_ + "/spec.yaml", "--out", folder_ + "/out",
             "--models", TILTSHIFT_SOURCE_DIR "/models", "--no-sheet"});
    ASSERT_EQ(ran.code, 0) << ran.errors;
    good_ = *ReadFile(folder_ + "/out/0.png");
  }
  static void TearDownTestSuite() { fs::remove_all(folder_); }

  static Ran Run(const std::vector<std::string>& arguments) {
    Process process(arguments, folder_);
    const int code = process.Wait(kLongMs);
    return {code, process.Output(), process.Errors()};
  }
  static std::string Put(const std::string& name, const std::string& bytes) {
    EXPECT_TRUE(WriteFileAtomic(folder_ + "/" + name, bytes, IfPresent::kReplace).ok());
    return folder_ + "/" + name;
  }
  static std::string OwnCa() { return folder_ + "/state/tiltshift/certificate/ca.pem"; }
  static Ran Verify(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {Program("tiltshift"), "verify", "--json"});
    return Run(arguments);
  }
  static std::vector<json> OthersRead(const std::string& ca, std::vector<std::string> files) {
    files.insert(files.begin(), {kPython, kScript, "read", ca});
    const Ran ran = Run(files);
    EXPECT_EQ(ran.code, 0) << ran.errors;
    return ran.lines();
  }
  static std::string WhyNoReader() {
    return access(TILTSHIFT_SOURCE_DIR "/build/c2pa-reader/complete", F_OK) == 0
               ? ""
               : "c2pa-python is not installed; scripts/setup does it, or says why it can't";
  }
  // Name -> the picture, changed by someone who mends the checksums.
  static std::map<std::string, std::string> Changes() {
    return {{"pixel.png", provenance::ChangedPixel(good_)},
            {"xmp.png",
             ChangedChunk(good_, "iTXt",
                          [](std::string& data) { data.replace(data.find("Brand"), 5, "Brant"); })},
            {"claim.png", ChangedChunk(good_, "caBX", [](std::string& data) {
               data.replace(data.find("Brand"), 5, "Brant");
             })}};
  }

  static std::string folder_, good_;
};
std::string ContentCredentials::folder_, ContentCredentials::good_;

TEST_F(ContentCredentials, VerifySaysWhoAndWhat) {
  const Ran ran = Verify({folder_ + "/out/0.png", folder_ + "/out/1.png"});
  ASSERT_EQ(ran.code, 0) << ran.output << ran.errors;
  for (const json& line : ran.lines()) {
    EXPECT_EQ(line["finding"], "signed");
    EXPECT_THAT(std::string(line["signer"]), HasSubstr("Tiltshift farm "));
    EXPECT_EQ(line["says"]["machine_made"], true);
    EXPECT_EQ(line["says"]["model"], "diorama");
    EXPECT_EQ(line["says"]["job"], "accountable");
    EXPECT_EQ(line["says"]["seed"], "11");
    EXPECT_EQ(line["says"]["owner"], "Brand Ltd");
    EXPECT_EQ(line["says"]["license"], "https://example.org/licence");
    EXPECT_FALSE(line["says"].contains("prompt"));
  }
  EXPECT_THAT(good_, Not(HasSubstr("SECRET")));
  const Ran words = Run({Program("tiltshift"), "verify", folder_ + "/out/0.png"});
  EXPECT_THAT(words.output, HasSubstr("it is what was signed"));
  EXPECT_THAT(words.output, HasSubstr("seed         11"));
}

TEST_F(ContentCredentials, VerifyRefusesWhatWasChanged) {
  for (const auto& [name, bytes] : Changes()) {
    const Ran ran = Verify({Put(name, bytes)});
    EXPECT_EQ(ran.code, 1);
    EXPECT_EQ(ran.lines()[0]["finding"], "changed") << name;
    EXPECT_FALSE(ran.lines()[0].contains("says"));
  }
  EXPECT_EQ(Verify({Put("bare.png", *provenance::WithoutCredentials(good_))}).lines()[0]["finding"],
            "none");
  EXPECT_EQ(Verify({Put("cut.png", good_.substr(0, good_.size() / 2))}).lines()[0]["finding"],
            "unreadable");
  const std::string stranger = Put("stranger.pem", provenance::MakeTestCa().certificate);
  const Ran untrusted = Verify({"--trust", stranger, folder_ + "/out/0.png"});
  EXPECT_EQ(untrusted.code, 1);
  EXPECT_EQ(untrusted.lines()[0]["finding"], "untrusted");
  EXPECT_EQ(Verify({folder_ + "/nowhere.png"}).code, 2);
  EXPECT_THAT(Verify({"--trust", Put("no.pem", "x"), folder_ + "/out/0.png"}).errors,
              HasSubstr("no.pem"));
}

TEST_F(ContentCredentials, AnotherReaderBelievesThem) {
  if (const std::string why = WhyNoReader(); !why.empty()) GTEST_SKIP() << why;
  const auto said = OthersRead(OwnCa(), {folder_ + "/out/0.png", folder_ + "/out/1.png"});
  ASSERT_EQ(said.size(), 2u);
  for (const json& picture : said) {
    EXPECT_EQ(picture["state"], "Trusted") << picture;
    EXPECT_THAT(picture["failures"], IsEmpty()) << picture;
    for (const char* code : {"signingCredential.trusted", "claimSignature.validated",
                             "assertion.hashedURI.match", "assertion.dataHash.match"})
      EXPECT_THAT(picture["successes"], Contains(code));
    const json& assertions = picture["manifest"]["assertion_store"];
    EXPECT_EQ(assertions["c2pa.actions.v2"]["actions"][0]["digitalSourceType"],
              "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia");
    EXPECT_EQ(assertions["cawg.metadata"]["tiltshift:Model"], "diorama");
    EXPECT_EQ(assertions["cawg.metadata"]["tiltshift:Seed"], "11");
    EXPECT_EQ(assertions["cawg.metadata"]["xmpRights:Owner"][0], "Brand Ltd");
    EXPECT_THAT(picture.dump(), Not(HasSubstr("SECRET")));
  }
}

TEST_F(ContentCredentials, AnotherReaderRefusesWhatWasChanged) {
  if (const std::string why = WhyNoReader(); !why.empty()) GTEST_SKIP() << why;
  for (const auto& [name, bytes] : Changes()) {
    const json said = OthersRead(OwnCa(), {Put(name, bytes)})[0];
    EXPECT_EQ(said["state"], "Invalid") << name << said;
    EXPECT_THAT(said["failures"], Not(IsEmpty())) << name;
  }
  const std::string bare = Put("bare.png", *provenance::WithoutCredentials(good_));
  EXPECT_THAT(std::string(OthersRead(OwnCa(), {bare})[0]["error"]), HasSubstr("ManifestNotFound"));
  const std::string stranger = Put("stranger.pem", provenance::MakeTestCa().certificate);
  EXPECT_THAT(OthersRead(stranger, {folder_ + "/out/0.png"})[0]["failures"],
              Contains("signingCredential.untrusted"));
}

TEST_F(ContentCredentials, WhatAnotherWriterSignedIsRead) {
  if (const std::string why = WhyNoReader(); !why.empty()) GTEST_SKIP() << why;
  const provenance::TestCa ca = provenance::MakeTestCa();
  const std::string bare = Put("bare.png", *provenance::WithoutCredentials(good_));
  const std::string theirs = folder_ + "/theirs.png", trust = Put("ca.pem", ca.certificate);
  for (const auto& [algorithm, key] :
       {std::pair{"ed25519", "ED25519"}, std::pair{"es256", "P-256"}}) {
    SCOPED_TRACE(algorithm);
    const provenance::TestSigner signer = provenance::MakeTestSigner(ca, {.key = key});
    const Ran signing = Run({kPython, kScript, "sign", algorithm,
                             Put("chain.pem", signer.certificate + ca.certificate),
                             Put("key.pem", signer.key), bare, theirs});
    ASSERT_EQ(signing.code, 0) << signing.errors;
    const Ran ran = Verify({"--trust", trust, theirs});
    EXPECT_EQ(ran.code, 0) << ran.output;
    EXPECT_EQ(ran.lines()[0]["says"]["generator"], "another program");
    EXPECT_EQ(ran.lines()[0]["says"]["machine_made"], true);
    const std::string changed = ChangedChunk(*ReadFile(theirs), "caBX", [](std::string& data) {
      data.replace(data.find("another program"), 7, "Another");
    });
    EXPECT_EQ(Verify({"--trust", trust, Put("changed.png", changed)}).lines()[0]["finding"],
              "changed");
  }
}

}  // namespace
}  // namespace tiltshift::tests
