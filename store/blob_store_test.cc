// What every blob store promises, asked of files and of a real S3 server; then what files alone do.
#include "store/blob_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "tests/support/process.h"
#include "tests/support/s3_server.h"

namespace tiltshift::store {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class BlobStoreTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "Files") {
      options_.where = tests::FreshFolder() + "/blobs";
    } else {
      if (!tests::S3Server::Missing().empty()) GTEST_SKIP() << tests::S3Server::Missing();
      if (server_ == nullptr) server_ = new tests::S3Server(tests::FreshFolder());
      server_->SetEnvironment();
      static int count = 0;
      options_.where = absl::StrCat("s3://farm/a+b/test", count++);
    }
    store_ = Open();
    ASSERT_NE(store_, nullptr);
  }
  static void TearDownTestSuite() {
    delete server_;
    server_ = nullptr;
  }
  std::unique_ptr<BlobStore> Open() {
    auto store = OpenBlobStore(options_);
    EXPECT_TRUE(store.ok()) << store.status();
    return store.ok() ? std::move(*store) : nullptr;
  }

  static tests::S3Server* server_;  // started once: it takes seconds
  BlobOptions options_;
  std::unique_ptr<BlobStore> store_;
};

tests::S3Server* BlobStoreTest::server_ = nullptr;

INSTANTIATE_TEST_SUITE_P(, BlobStoreTest, ::testing::Values("Files", "S3"),
                         [](const auto& info) { return info.param; });

TEST_P(BlobStoreTest, TheFirstWriterWins) {
  EXPECT_TRUE(*store_->PutIfAbsent("jobs/j/outputs/a.png", "first"));
  EXPECT_FALSE(*store_->PutIfAbsent("jobs/j/outputs/a.png", "second"));
  EXPECT_FALSE(*store_->PutIfAbsent("jobs/j/outputs/a.png", "first"));
  EXPECT_EQ(*store_->Get("jobs/j/outputs/a.png"), "first");
}

TEST_P(BlobStoreTest, AnotherProcessSeesWhatWasWritten) {
  EXPECT_TRUE(*store_->PutIfAbsent("jobs/j/spec.binpb", "bytes"));
  const auto other = Open();
  EXPECT_EQ(*other->Get("jobs/j/spec.binpb"), "bytes");
  EXPECT_FALSE(*other->PutIfAbsent("jobs/j/spec.binpb", "else"));
  EXPECT_THAT(*other->List("jobs/"), ElementsAre("jobs/j/spec.binpb"));
}

TEST_P(BlobStoreTest, WhatIsNotThere) {
  const auto got = store_->Get("jobs/none");
  EXPECT_EQ(got.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(got.status().message()), HasSubstr("jobs/none"));
  EXPECT_FALSE(*store_->Exists("jobs/none"));
  EXPECT_THAT(*store_->List("jobs/none/"), IsEmpty());
  EXPECT_TRUE(store_->Delete("jobs/none").ok());
}

TEST_P(BlobStoreTest, WhatIsDeletedCanBeWrittenAgain) {
  EXPECT_TRUE(*store_->PutIfAbsent("a", "1"));
  EXPECT_TRUE(*store_->Exists("a"));
  EXPECT_TRUE(store_->Delete("a").ok());
  EXPECT_FALSE(*store_->Exists("a"));
  EXPECT_TRUE(*store_->PutIfAbsent("a", "2"));
  EXPECT_EQ(*store_->Get("a"), "2");
}

TEST_P(BlobStoreTest, EveryByteAndSize) {
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  std::string large;  // libcurl asks before it sends so much
  while (large.size() < 5'000'000) large += all;
  for (const std::string& bytes : {std::string(), all, large}) {
    const std::string key = absl::StrCat("size/", bytes.size());
    EXPECT_TRUE(*store_->PutIfAbsent(key, bytes));
    EXPECT_EQ(*store_->Get(key), bytes);
  }
}

TEST_P(BlobStoreTest, KeysMayHoldWhatFileNamesMay) {
  const std::vector<std::string> keys = {"k/ ",
                                         "k/ a  b ",
                                         "k/!\"#$&'()*,:;<=>?@[]^`{|}~",
                                         "k/%41",
                                         "k/+",
                                         "k/.x",
                                         "k/a+b c",
                                         "k/a/b/c",
                                         "k/aa",
                                         "k/caf\xc3\xa9.png",
                                         "k/x..",
                                         "k/\xe6\x97\xa5\xe6\x9c\xac.png"};
  for (const std::string& key : keys) EXPECT_TRUE(*store_->PutIfAbsent(key, key)) << key;
  for (const std::string& key : keys) EXPECT_EQ(*store_->Get(key), key);
  auto sorted = keys;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(*store_->List("k/"), sorted);
  for (const std::string& key : keys) EXPECT_TRUE(store_->Delete(key).ok());
  EXPECT_THAT(*store_->List("k/"), IsEmpty());
}

TEST_P(BlobStoreTest, AListingHoldsAFolderAndNothingElse) {
  for (const char* key : {"jobs/j", "jobs/j1/b", "jobs/j1/a/x", "jobs/j12/c", "jobs/i/d"})
    EXPECT_TRUE(*store_->PutIfAbsent(key, ""));
  EXPECT_THAT(*store_->List("jobs/j1/"), ElementsAre("jobs/j1/a/x", "jobs/j1/b"));
  EXPECT_EQ(store_->ListSome("jobs/j1/", 1)->size(), 1u);
  EXPECT_EQ(store_->ListSome("jobs/j1/", 2)->size(), 2u);
  EXPECT_EQ(store_->ListSome("jobs/j1/", 9)->size(), 2u);
  EXPECT_THAT(*store_->ListSome("jobs/none/", 1), IsEmpty());
  EXPECT_EQ(store_->List("jobs/j1").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(store_->List("").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(store_->List("/").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_P(BlobStoreTest, KeysStayInside) {
  for (const std::string& key :
       {std::string(), std::string("/etc/passwd"), std::string("../x"), std::string("a/../../x"),
        std::string("a/./b"), std::string("a//b"), std::string("a/"), std::string("a\\b"),
        std::string("a\nb"), std::string("a\0b", 3), std::string(1025, 'x'),
        "a/" + std::string(256, 'x')}) {
    const auto bad = absl::StatusCode::kInvalidArgument;
    EXPECT_EQ(store_->PutIfAbsent(key, "x").status().code(), bad) << key;
    EXPECT_EQ(store_->Get(key).status().code(), bad) << key;
    EXPECT_EQ(store_->Exists(key).status().code(), bad) << key;
    EXPECT_EQ(store_->Delete(key).code(), bad) << key;
  }
}

// Exactly one of two at the same time is a promise of the server's, which moto does not keep: here
// every thread has keys of its own.
TEST_P(BlobStoreTest, ManyThreadsAtOnce) {
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int thread = 0; thread < 8; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < 10; ++i) {
        const std::string key = absl::StrCat("t/", thread, "-", i);
        const auto put = store_->PutIfAbsent(key, key);
        const auto got = store_->Get(key);
        good += put.ok() && *put && got.ok() && *got == key;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 80);
  EXPECT_EQ(store_->List("t/")->size(), 80u);
}

// ---- files

TEST(FileBlobStore, OneOfManyWritersWins) {
  auto store = OpenFileBlobStore(tests::FreshFolder());
  ASSERT_TRUE(store.ok()) << store.status();
  for (int round = 0; round < 20; ++round) {
    std::vector<std::thread> threads;
    std::atomic<int> winners{0};
    for (int i = 0; i < 4; ++i)
      threads.emplace_back([&] { winners += *(*store)->PutIfAbsent(absl::StrCat(round), "x"); });
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(winners, 1);
  }
}

TEST(FileBlobStore, ARootThatCannotBeMadeIsAnErrorNow) {
  const auto store = OpenBlobStore({.where = "/proc/nowhere"});
  EXPECT_FALSE(store.ok());
  EXPECT_THAT(std::string(store.status().message()), HasSubstr("/proc/nowhere"));
}

TEST(FileBlobStore, KeepsRoomOnTheDisk) {
  const std::string root = tests::FreshFolder();
  auto store = OpenFileBlobStore(root, uint64_t{1} << 62);
  ASSERT_TRUE(store.ok()) << store.status();
  const auto put = (*store)->PutIfAbsent("a", "x");
  EXPECT_EQ(put.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(put.status().message()),
              HasSubstr("the disk of " + root + " is nearly full: "));
  EXPECT_EQ((*store)->Get("a").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(OpenBlobStore({.where = root, .keep_free = uint64_t{1} << 62}).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(BlobStore, WhatIsNeitherAFolderNorS3) {
  const auto store = OpenBlobStore({.where = "gs://bucket/x"});
  EXPECT_EQ(store.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(store.status().message()), HasSubstr("neither a folder nor s3://"));
  EXPECT_FALSE(std::filesystem::exists("gs:"));
}

}  // namespace
}  // namespace tiltshift::store
