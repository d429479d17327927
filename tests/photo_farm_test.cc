// Photos through real processes: uploaded, rendered from, destroyed; and that nothing of them is
// left anywhere, whoever was killed when (I6).
#include <gmock/gmock.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "base/file.h"
#include "base/hash.h"
#include "picture/png.h"
#include "picture/png_chunk.h"
#include "picture/testing/photos.h"
#include "tests/support/farm_service.h"
#include "tests/support/traces.h"
#include "tests/support/worker_process.h"

namespace tiltshift::tests {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr int kPatienceMs = 60'000;

class PhotoFarmTest : public FarmServiceTest {
 protected:
  void SetUp() override {
    const std::string temporary = folder_ + "/tmp";
    fs::create_directories(temporary);
    setenv("TMPDIR", temporary.c_str(), 1);
    setenv("TS_FARM_KEY", RandomHex(32).c_str(), 1);
    scheduler_options_ = {"--farm-key", "env:TS_FARM_KEY"};
    lease_ttl_ms_ = "2000";
    // Apart: what is searched is the farm's alone.
    photos_ = folder_ + "-photos";
    fs::create_directories(photos_);
    FarmServiceTest::SetUp();
  }
  void TearDown() override {
    unsetenv("TMPDIR");
    fs::remove_all(photos_);
  }
  void StartWorker(const std::string& render = "noop") {
    worker_ = tests::StartWorker(folder_, socket_,
                                 {"--render", render, "--slots", "1", "--device", "cpu", "--models",
                                  TILTSHIFT_SOURCE_DIR "/models"});
  }
  std::string Run(std::vector<std::string> command, int code = 0) {
    command.insert(command.begin(), Program("tiltshift"));
    if (command[1] != "render") command.insert(command.end(), {"--scheduler", socket_});
    Process process(command, photos_);
    EXPECT_EQ(process.Wait(kPatienceMs), code) << process.Output() << process.Errors();
    return process.Output() + process.Errors();
  }
  std::string Write(const std::string& name, const std::string& text) {
    EXPECT_TRUE(WriteFileAtomic(photos_ + "/" + name, text, IfPresent::kReplace).ok());
    return photos_ + "/" + name;
  }
  // A PNG whose text, compressed bytes and pixels are like no other's; its marks are noted.
  void WriteMarkedPhoto(const std::string& name) {
    std::mt19937 random(std::random_device{}());
    std::vector<uint8_t> rgb(96 * 80 * 3);
    for (uint8_t& value : rgb) value = static_cast<uint8_t>(random());
    const std::string text = RandomHex(32);
    const std::string png = *picture::WithXmp(*picture::EncodePng(96, 80, rgb), text);
    marks_.push_back(text);
    marks_.push_back(png.substr(png.size() / 2, 64));
    marks_.push_back({reinterpret_cast<const char*>(rgb.data()) + 96 * 3 * 40, 64});
    Write(name, png);
  }
  // Its id.
  std::string SubmitContest(const std::string& more = "", const std::string& rows = "") {
    Write("entries.csv", rows.empty()
                             ? "id,author,prompt,photo\nowl,ann,an owl,a.png\nfox,bob,a fox,b.png\n"
                             : rows);
    const std::string said = Run(
        {"submit",
         Write("contest.yaml",
               "kind: contest\nname: tiny\nmodel: diorama\nprompt: a miniature {prompt}\n"
               "entries: entries.csv\nrender: {width: 64, height: 64, steps: 2, strength: 0.6}\n" +
                   more)});
    return said.substr(0, said.find(':'));
  }
  void ExpectNoTraces() {
    EXPECT_THAT(FilesWith(marks_, folder_), IsEmpty());
    const pid_t redis = redis_->pid();
    EXPECT_FALSE(MemoryHolds(marks_, redis));
  }
  size_t KeptFiles() {
    size_t count = 0;
    std::error_code none;
    for (fs::recursive_directory_iterator it(folder_ + "/blobs/photos", none), end; it != end; ++it)
      count += it->is_regular_file();
    return count;
  }
  bool AllGone() {
    return WaitFor([&] { return KeptFiles() == 0; }, 20'000);
  }
  void KillWorker() {
    worker_->Signal(SIGKILL);
    worker_->Wait(10'000);
  }

  std::string photos_;
  std::vector<std::string> marks_;
  std::unique_ptr<Process> worker_;
};

TEST_F(PhotoFarmTest, APhotoIsNeverPlainAndDiesWithItsEntry) {
  for (const char* name : {"a.png", "b.png", "mask.png"}) WriteMarkedPhoto(name);
  ASSERT_EQ(FilesWith(marks_, photos_).size(), 3u);  // the search does find
  const std::string job = SubmitContest(
      "", "id,author,prompt,photo,mask\nowl,ann,an owl,a.png,mask.png\nfox,bob,a fox,b.png,\n");
  EXPECT_EQ(KeptFiles(), 9u);  // about, key, sealed, of each
  ExpectNoTraces();
  EXPECT_THAT(Run({"receipts", job}), HasSubstr("0 of 3 photos are destroyed"));

  StartWorker("engine");
  Run({"watch", job});
  EXPECT_EQ(Job(job).state(), v1::JOB_STATE_DONE);
  EXPECT_TRUE(AllGone());
  ExpectNoTraces();
  EXPECT_THAT(Run({"receipts", job, "--check"}),
              AllOf(HasSubstr("its entry has ended; signed"), HasSubstr(" owl "),
                    HasSubstr("3 of 3 photos are destroyed")));
  EXPECT_THAT(Run({"receipts", job, "--check", "--public-key", std::string(64, 'a')}, 1),
              HasSubstr("NOT SIGNED by this farm's key"));
  EXPECT_THAT(Run({"forget", job}), HasSubstr("0 photos destroyed"));
}

TEST_F(PhotoFarmTest, APhotoDiesWhoeverIsKilledWhen) {
  std::mt19937 random(std::random_device{}());
  for (const bool kill_scheduler : {true, false, true}) {
    WriteMarkedPhoto("a.png");
    WriteMarkedPhoto("b.png");
    const std::string job = SubmitContest("axes: {seed: {range: 1-6}}\n");
    StartWorker();
    const int wait_ms = static_cast<int>(random() % 600);
    SCOPED_TRACE(wait_ms);
    std::this_thread::sleep_for(std::chrono::milliseconds(wait_ms));
    if (kill_scheduler) {
      KillScheduler();
      EXPECT_THAT(FilesWith(marks_, folder_), IsEmpty());
      StartScheduler();
    } else {
      KillWorker();
      EXPECT_THAT(FilesWith(marks_, folder_), IsEmpty());
      StartWorker();
    }
    Run({"watch", job});
    EXPECT_EQ(Job(job).committed(), 12u);
    EXPECT_TRUE(AllGone());
    ExpectNoTraces();
    EXPECT_THAT(Run({"receipts", job, "--check"}), HasSubstr("2 of 2 photos are destroyed"));
    KillWorker();
  }
}

TEST_F(PhotoFarmTest, DiesOnCancelOnForgetAndInTime) {
  WriteMarkedPhoto("a.png");
  WriteMarkedPhoto("b.png");
  const std::string cancelled = SubmitContest();
  Run({"cancel", cancelled});
  EXPECT_TRUE(AllGone());
  EXPECT_THAT(Run({"receipts", cancelled}), HasSubstr("its job was cancelled"));

  const std::string forgotten = SubmitContest();
  EXPECT_THAT(Run({"forget", forgotten, "--entry", "owl"}), HasSubstr("1 photos destroyed"));
  EXPECT_EQ(KeptFiles(), 3u);  // already when it is answered
  EXPECT_THAT(Run({"forget", "--author", "nobody"}), HasSubstr("0 photos destroyed"));
  EXPECT_THAT(Run({"forget", forgotten, "--tenant", "other"}, 2), HasSubstr("there is no job"));
  EXPECT_THAT(Run({"forget", forgotten, "--entry", "hen"}, 2), HasSubstr("no entry hen"));
  EXPECT_THAT(Run({"forget", "--author", "bob"}), HasSubstr("1 photos destroyed"));
  EXPECT_EQ(KeptFiles(), 0u);
  EXPECT_THAT(Run({"receipts", forgotten}), HasSubstr("it was to be forgotten"));

  const std::string late = SubmitContest("photo_ttl: 1s\n");
  EXPECT_TRUE(AllGone());
  EXPECT_THAT(Run({"receipts", late}), HasSubstr("its time was up"));
  ExpectNoTraces();
  StartWorker();  // an entry without its photo fails, and says why
  Run({"watch", late}, 1);
  EXPECT_THAT(Run({"entries", late}), HasSubstr("its photo was destroyed"));
}

TEST_F(PhotoFarmTest, WhatCannotBeTakenIsRefusedByRow) {
  WriteMarkedPhoto("a.png");
  Write("text.png", "no photo at all");
  Write("cut.png", ReadFile(photos_ + "/a.png")->substr(0, 3'000));
  fs::create_directories(photos_ + "/folder");
  fs::create_symlink(photos_ + "/a.png", photos_ + "/link.png");
  Write(
      "entries.csv",
      "id,prompt,photo\n1,x,a.png\n2,x,text.png\n3,x,missing.png\n4,x,../photos-of-entrants/a.png\n"
      "5,x,link.png\n6,x,folder\n7,x,/etc/passwd\n8,x,cut.png\n9,x,\n");
  const std::string spec =
      "kind: contest\nname: tiny\nmodel: diorama\nprompt: a miniature {prompt}\n";
  EXPECT_THAT(
      Run({"submit", Write("reject.yaml", spec + "entries: entries.csv\n")}, 2),
      AllOf(HasSubstr("entries.csv:3: column photo: text.png: this is no JPEG, PNG, WebP or HEIC"),
            HasSubstr("entries.csv:4: column photo: missing.png: cannot open"),
            HasSubstr("entries.csv:5: column photo: ../photos-of-entrants/a.png: "),
            HasSubstr("leads out of the folder"), HasSubstr("has a symbolic link in it"),
            HasSubstr("entries.csv:7: column photo: folder: folder is no ordinary file"),
            HasSubstr("/etc/passwd is no path below the folder"),
            HasSubstr("entries.csv:9: column photo: cut.png: the PNG is damaged or cut off"),
            HasSubstr("nothing was taken")));
  EXPECT_EQ(KeptFiles(), 0u);
  EXPECT_THAT(Run({"submit",
                   Write("skip.yaml", spec + "entries: {file: entries.csv, on_invalid: skip}\n")}),
              HasSubstr("2 pictures accepted"));
  EXPECT_THAT(Run({"submit", Write("weak.yaml", spec + "entries: {file: entries.csv, on_invalid: "
                                                       "skip}\nrender: {strength: 1.5}\n")},
                  2),
              HasSubstr("render.strength: \"1.5\" is not a number above 0 and up to 1"));
  EXPECT_THAT(Run({"submit", Write("none.yaml",
                                   "name: x\nmodel: diorama\nprompt: x\n"
                                   "render: {strength: 0.5}\n")},
                  2),
              HasSubstr("render.strength: there is no photo"));
}

// What a client of its own may send.
TEST_F(PhotoFarmTest, HostileUploadsEndInAnError) {
  const auto upload = [&](uint64_t announced, const std::vector<std::string>& pieces,
                          bool start = true) {
    grpc::ClientContext context;
    v1::UploadPhotoResponse response;
    const auto writer = farm_->UploadPhoto(&context, &response);
    v1::UploadPhotoRequest request;
    request.mutable_start()->set_bytes(announced);
    if (start) writer->Write(request);
    for (const std::string& piece : pieces) {
      request.set_data(piece);
      writer->Write(request);
    }
    writer->WritesDone();
    const grpc::Status status = writer->Finish();
    return status.ok() ? response.photo_id() : status.error_message();
  };
  EXPECT_THAT(upload(0, {}, false), HasSubstr("breaks off after 0 of 0 bytes"));
  EXPECT_THAT(upload(0, {"x"}, false), HasSubstr("start: must come first"));
  EXPECT_THAT(upload(0, {}), HasSubstr("the photo is empty"));
  EXPECT_THAT(upload(3, {"12", "34"}), HasSubstr("more bytes than the start's 3"));
  EXPECT_THAT(upload(9, {"1234"}), HasSubstr("breaks off after 4 of 9 bytes"));
  EXPECT_THAT(upload(40'000'001, {}), HasSubstr("at most 40 MB are taken"));
  EXPECT_THAT(upload(uint64_t{1} << 63, {}), HasSubstr("at most 40 MB are taken"));
  size_t taken = 0;
  for (const std::string& seed : picture::HostileSeeds()) {
    const std::string said = upload(seed.size(), {seed});
    EXPECT_THAT(said, Not(HasSubstr("Socket closed")));
    taken += said.size() == 33 && said[0] == 'p';
  }
  EXPECT_GT(taken, 0u);
  // A thousand that are cut, changed, glued together.
  const auto seeds = picture::HostileSeeds();
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  std::map<std::string, int> answers;
  for (int i = 0; i < 1'000; ++i) {
    std::string photo = seeds[random() % seeds.size()];
    if (random() % 3 == 0) photo += seeds[random() % seeds.size()];
    if (random() % 3 == 0) photo.resize(1 + random() % photo.size());
    for (int flips = static_cast<int>(random() % 8); flips > 0 && !photo.empty(); --flips)
      photo[random() % photo.size()] ^= static_cast<char>(1 << random() % 8);
    if (photo.empty()) continue;
    const std::string said = upload(photo.size(), {photo});
    EXPECT_TRUE(said.size() > 10 && said.find("Socket closed") == std::string::npos) << said;
    ++answers[said.size() == 33 && said[0] == 'p' ? "taken" : said];
  }
  for (const auto& [said, count] : answers) std::printf("%5d %s\n", count, said.c_str());
  EXPECT_TRUE(scheduler_->Running());
  // Ids of one's own making.
  for (const char* id : {"p00000000000000000000000000000000", "../../key", "p"}) {
    v1::JobSpec spec = Spec("1-1");
    spec.set_photo(id);
    v1::SubmitResponse response;
    EXPECT_THAT(Submit(spec, &response).error_message(), HasSubstr("photo: ")) << id;
  }
}

}  // namespace
}  // namespace tiltshift::tests
