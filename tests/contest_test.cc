// Contests over a real scheduler and a real Redis: entries come in batches, each is rendered and
// accounted for.
#include <gmock/gmock.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "base/file.h"
#include "tests/support/farm_service.h"
#include "tests/support/worker_process.h"

namespace tiltshift::tests {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int kPatienceMs = 60'000;

v1::Entries Batch(const std::vector<std::vector<std::string>>& rows) {
  v1::Entries batch;
  for (const char* column : {"id", "author", "prompt"}) batch.add_columns(column);
  for (const auto& row : rows) batch.add_entries()->mutable_values()->Add(row.begin(), row.end());
  return batch;
}

class ContestTest : public FarmServiceTest {
 protected:
  static v1::JobSpec Contest(uint32_t per_author = 0) {
    v1::JobSpec spec;
    spec.set_kind(v1::JOB_KIND_CONTEST);
    spec.set_name("contest");
    spec.set_model("diorama");
    spec.set_prompt("a miniature {prompt}");
    spec.mutable_contest()->set_per_author(per_author);
    return spec;
  }
  grpc::Status Open(const v1::JobSpec& spec, const v1::Entries& batch) {
    grpc::ClientContext context;
    v1::SubmitRequest request;
    *request.mutable_spec() = spec;
    *request.mutable_entries() = batch;
    v1::SubmitResponse response;
    const grpc::Status status = farm_->Submit(&context, request, &response);
    job_ = response.job_id();
    return status;
  }
  grpc::Status Append(const v1::Entries& batch) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    v1::AppendEntriesRequest request;
    request.set_job_id(job_);
    *request.mutable_entries() = batch;
    v1::SubmitResponse response;
    return farm_->AppendEntries(&context, request, &response);
  }
  v1::ListEntriesResponse Entries(uint64_t first = 0, uint32_t limit = 1'000) {
    grpc::ClientContext context;
    v1::ListEntriesRequest request;
    request.set_job_id(job_);
    request.set_first(first);
    request.set_limit(limit);
    v1::ListEntriesResponse response;
    const grpc::Status status = farm_->ListEntries(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }
  std::vector<std::string> Ids() {
    std::vector<std::string> ids;
    const v1::ListEntriesResponse response = Entries();
    for (const auto& entry : response.entries()) ids.push_back(entry.id());
    return ids;
  }
  void StartWorker() { worker_ = tests::StartWorker(folder_, socket_); }
  std::string Run(std::vector<std::string> command, int code = 0) {
    command.insert(command.begin(), Program("tiltshift"));
    command.insert(command.end(), {"--scheduler", socket_});
    Process process(command, folder_);
    EXPECT_EQ(process.Wait(kPatienceMs), code) << process.Errors();
    return process.Output() + process.Errors();
  }
  std::string Write(const std::string& name, const std::string& text) {
    EXPECT_TRUE(WriteFileAtomic(folder_ + "/" + name, text, IfPresent::kReplace).ok());
    return folder_ + "/" + name;
  }

  std::string job_;
  std::unique_ptr<Process> worker_;
};

TEST_F(ContestTest, FromATableToItsResults) {
  Write(
      "entries.csv",
      "id,author,prompt\nowl,ann,an owl\nfox,bob,\"=a \"\"red\"\" fox, asleep\"\nfox,bob,again\n");
  const std::string spec =
      Write("contest.yaml",
            "kind: contest\nname: tiny\nmodel: diorama\nprompt: a miniature {prompt}\n"
            "entries: {file: entries.csv, on_invalid: skip}\naxes: {seed: {range: 1-2}}\n");
  const std::string said = Run({"submit", spec});
  EXPECT_THAT(said, HasSubstr("4 pictures accepted"));
  EXPECT_THAT(said, HasSubstr("left out: entries.csv:4: column id: fox is there already"));
  job_ = said.substr(0, said.find(':'));
  StartWorker();
  Run({"watch", job_});

  // A late batch has an ended contest run again; what was rendered stays as it is.
  EXPECT_THAT(Run({"append", job_, Write("late.csv", "prompt,author,id\na hen,cid,hen\n")}),
              HasSubstr("6 pictures now"));
  Run({"watch", job_});
  EXPECT_EQ(Job(job_).state(), v1::JOB_STATE_DONE);
  EXPECT_EQ(Job(job_).committed(), 6u);
  EXPECT_THAT(Run({"entries", job_}),
              HasSubstr("hen                      cid                      done            2/2"));

  Run({"results", job_, "--out", folder_ + "/results.csv"});
  EXPECT_EQ(*ReadFile(folder_ + "/results.csv"),
            "id,author,state,pictures,reason,prompt\n"
            "owl,ann,done,owl-0.png owl-1.png,,an owl\n"
            "fox,bob,done,fox-2.png fox-3.png,,\"'=a \"\"red\"\" fox, asleep\"\n"
            "hen,cid,done,hen-4.png hen-5.png,,a hen\n");
  Run({"results", job_, "--out", folder_ + "/results.json"});
  const auto json = nlohmann::json::parse(*ReadFile(folder_ + "/results.json"));
  EXPECT_EQ(json[1]["columns"]["prompt"], "=a \"red\" fox, asleep");
  EXPECT_EQ(json[2]["pictures"][1]["name"], "hen-5.png");
  EXPECT_EQ(json[2]["pictures"][1]["seed"], 2);
  Run({"results", job_, "--out", folder_ + "/results.jsonl"});
  std::istringstream lines(*ReadFile(folder_ + "/results.jsonl"));
  size_t entry = 0;
  for (std::string line; std::getline(lines, line); ++entry)
    EXPECT_EQ(nlohmann::json::parse(line), json[entry]);
  EXPECT_EQ(entry, 3u);
}

TEST_F(ContestTest, AnEntryThatFailsStopsNoOther) {
  ASSERT_TRUE(
      Open(Contest(),
           Batch({{"owl", "ann", "an owl"}, {"fox", "bob", "a fox"}, {"hen", "cid", "a hen"}}))
          .ok());
  const auto before = Entries();
  EXPECT_EQ(before.entries(0).state(), v1::JOB_STATE_QUEUED);
  Worker worker(channel_, "w");
  std::vector<v1::Outcome> outcomes;
  while (Job(job_).ended_unix_ms() == 0) {
    worker.Turn(Job(job_).committed() + Job(job_).failed() < 3 ? 1 : 0, outcomes);
    outcomes.clear();
    if (worker.lease.token() == 0) continue;
    v1::Outcome outcome;
    outcome.set_token(worker.lease.token());
    outcome.set_job_id(job_);
    const v1::VariantRange& range = worker.lease.range();
    for (uint64_t i = range.first(); i < range.first() + range.count(); ++i) {
      if (i == 1) {
        v1::FailedVariant& failed = *outcome.add_failed();
        failed.set_index(i);
        failed.set_reason("the fox ran away");
      } else {
        outcome.add_committed()->set_first(i);
        outcome.mutable_committed(outcome.committed_size() - 1)->set_count(1);
      }
    }
    worker.Turn(0, {outcome});
  }
  const auto entries = Entries();
  EXPECT_EQ(entries.total(), 3u);
  EXPECT_EQ(entries.entries(0).state(), v1::JOB_STATE_DONE);
  EXPECT_EQ(entries.entries(1).state(), v1::JOB_STATE_FAILED);
  EXPECT_EQ(entries.entries(1).reason(), "the fox ran away");
  EXPECT_EQ(entries.entries(1).columns().at("prompt"), "a fox");
  EXPECT_EQ(entries.entries(2).state(), v1::JOB_STATE_DONE);
}

// I1, I2: batches come at once, some of them twice, the scheduler dies in between; every entry is
// there once.
TEST_F(ContestTest, BatchesAreTakenOnceWhateverDies) {
  ASSERT_TRUE(Open(Contest(), Batch({{"first", "ann", "x"}})).ok());
  constexpr int kCallers = 4, kBatchesEach = 10;
  std::atomic<int> taken{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < kCallers; ++caller) {
    callers.emplace_back([&, caller] {
      for (int i = 0; i < kBatchesEach; ++i) {
        // Two callers share each batch.
        const std::string id = absl::StrCat("e", caller / 2, "-", i);
        const auto batch = Batch({{id, "bob", "y"}, {id + "b", "bob", "z"}});
        const auto deadline =
            std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatienceMs);
        while (!Append(batch).ok()) ASSERT_LT(std::chrono::steady_clock::now(), deadline);
        ++taken;
      }
    });
  }
  ASSERT_TRUE(WaitFor([&] { return taken > kCallers * kBatchesEach / 3; }, kPatienceMs));
  KillScheduler();
  scheduler_ = nullptr;
  scheduler_ = std::make_unique<Process>(
      std::vector<std::string>{Program("tiltshift-scheduler"), "--listen", socket_, "--redis",
                               redis_->address(), "--blobs", folder_ + "/blobs", "--leader-ttl-ms",
                               "600"},
      folder_);
  for (std::thread& caller : callers) caller.join();
  const auto ids = Ids();
  EXPECT_EQ(ids.size(), 1u + kCallers / 2 * kBatchesEach * 2u);
  EXPECT_EQ(std::set(ids.begin(), ids.end()).size(), ids.size());
  EXPECT_EQ(Job(job_).variants(), ids.size());
}

// I2: the blob store knows the late batches.
TEST_F(ContestTest, ALostRedisLosesNoEntry) {
  ASSERT_TRUE(Open(Contest(), Batch({{"a", "ann", "x"}})).ok());
  ASSERT_TRUE(Append(Batch({{"b", "ann", "y"}})).ok());
  ASSERT_TRUE(Append(Batch({{"c", "ann", "z"}})).ok());
  KillScheduler();
  redis_.reset();
  std::filesystem::create_directories(folder_ + "/new");
  redis_ = std::make_unique<RedisServer>(folder_ + "/new");
  Process rebuild({Program("tiltshift-scheduler"), "--rebuild", "--redis", redis_->address(),
                   "--blobs", folder_ + "/blobs"},
                  folder_);
  ASSERT_EQ(rebuild.Wait(kPatienceMs), 0) << rebuild.Output();
  EXPECT_THAT(rebuild.Output(), HasSubstr("0 of 3 variants committed"));
  StartScheduler();
  EXPECT_THAT(Ids(), ElementsAre("a", "b", "c"));
  StartWorker();
  ASSERT_TRUE(WaitFor([&] { return Job(job_).state() == v1::JOB_STATE_DONE; }, kPatienceMs));
}

TEST_F(ContestTest, BadBatchesAreRefusedWhole) {
  using grpc::StatusCode;
  const auto expect = [](const grpc::Status& status, StatusCode code, const std::string& what) {
    EXPECT_EQ(status.error_code(), code) << status.error_message();
    EXPECT_THAT(status.error_message(), HasSubstr(what));
  };
  expect(Open(Contest(), v1::Entries()), StatusCode::INVALID_ARGUMENT, "no column called id");
  expect(Open(Contest(), Batch({})), StatusCode::INVALID_ARGUMENT, "a batch without entries");
  v1::Entries short_row = Batch({{"a", "ann", "x"}});
  short_row.add_entries()->add_values("b");
  expect(Open(Contest(), short_row), StatusCode::INVALID_ARGUMENT,
         "entries[1]: has 1 values; there are 3 columns");
  v1::JobSpec campaign = Spec("1-3");
  expect(Open(campaign, Batch({{"a", "ann", "x"}})), StatusCode::INVALID_ARGUMENT,
         "write kind: contest");
  // What a submission says of batches is not believed.
  v1::JobSpec claims = Contest(1);
  claims.mutable_contest()->add_batches()->set_entries(4'000'000'000u);
  ASSERT_TRUE(Open(claims, Batch({{"a", "ann", "x"}})).ok());
  EXPECT_EQ(Job(job_).variants(), 1u);

  expect(Append(Batch({{"a", "bob", "x"}})), StatusCode::INVALID_ARGUMENT,
         "column id: a is there already");
  expect(Append(Batch({{"b", "bob", "x"}, {"c", "ann", "x"}})), StatusCode::INVALID_ARGUMENT,
         "entries[1]: column author: ann has 1 entries already");
  EXPECT_THAT(Ids(), ElementsAre("a"));
  ASSERT_TRUE(Append(Batch({{"b", "bob", "x"}})).ok());
  ASSERT_TRUE(Append(Batch({{"b", "bob", "x"}})).ok());  // the same again: a lost answer
  EXPECT_THAT(Ids(), ElementsAre("a", "b"));
  const auto second = Entries(1, 1);
  EXPECT_EQ(second.entries(0).id(), "b");
  EXPECT_EQ(Entries(7).entries_size(), 0);
  Run({"cancel", job_});
  expect(Append(Batch({{"d", "dan", "x"}})), StatusCode::FAILED_PRECONDITION, "was cancelled");
  v1::SubmitResponse other;
  ASSERT_TRUE(Submit(Spec("1-3"), &other).ok());
  job_ = other.job_id();
  expect(Append(Batch({{"d", "dan", "x"}})), StatusCode::FAILED_PRECONDITION, "is no contest");
  job_ = "nothing";
  expect(Append(Batch({{"d", "dan", "x"}})), StatusCode::NOT_FOUND, "nothing");
}

TEST_F(ContestTest, TenThousandEntriesAreAcceptedAtOnce) {
  std::string table = "id,author,prompt\n";
  for (int i = 0; i < 10'000; ++i)
    absl::StrAppend(&table, "e", i, ",author", i % 3'000, ",a wish of some length for entry ", i,
                    " of a long table\n");
  Write("entries.csv", table);
  const std::string spec = Write(
      "contest.yaml",
      "kind: contest\nname: many\nmodel: diorama\nentries: {file: entries.csv, per_author: 5}\n");
  const auto start = std::chrono::steady_clock::now();
  const std::string said = Run({"submit", spec});
  const std::chrono::duration<double, std::milli> ms = std::chrono::steady_clock::now() - start;
  EXPECT_THAT(said, HasSubstr("10,000 pictures accepted"));
  std::printf("10,000 entries from a table to acceptance in %.0f ms\n", ms.count());
}

}  // namespace
}  // namespace tiltshift::tests
