#include "store/blob_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/process.h"

namespace tiltshift::store {
namespace {

using ::testing::ElementsAre;

TEST(FileBlobStore, FirstWriterWinsAndListsAreSorted) {
  auto store = OpenFileBlobStore(tests::FreshFolder());
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_TRUE(*(*store)->PutIfAbsent("jobs/j/outputs/b c.png", "1"));
  EXPECT_FALSE(*(*store)->PutIfAbsent("jobs/j/outputs/b c.png", "2"));
  EXPECT_EQ(*(*store)->Get("jobs/j/outputs/b c.png"), "1");
  EXPECT_TRUE(*(*store)->PutIfAbsent("jobs/j/outputs/a.png", "3"));
  EXPECT_THAT(*(*store)->List("jobs/j/outputs/"),
              ElementsAre("jobs/j/outputs/a.png", "jobs/j/outputs/b c.png"));
  EXPECT_THAT(*(*store)->List("jobs/none/"), ElementsAre());
  EXPECT_TRUE((*store)->Delete("jobs/j/outputs/a.png").ok());
  EXPECT_TRUE((*store)->Delete("jobs/j/outputs/a.png").ok());
  EXPECT_EQ((*store)->Get("jobs/j/outputs/a.png").status().code(), absl::StatusCode::kNotFound);
}

TEST(FileBlobStore, KeysStayInside) {
  auto store = OpenFileBlobStore(tests::FreshFolder());
  ASSERT_TRUE(store.ok()) << store.status();
  for (const char* key : {"", "/etc/passwd", "../x", "a/../../x", "a/./b", "a\\b", "a\nb"}) {
    EXPECT_EQ((*store)->PutIfAbsent(key, "x").status().code(), absl::StatusCode::kInvalidArgument)
        << key;
    EXPECT_EQ((*store)->Get(key).status().code(), absl::StatusCode::kInvalidArgument) << key;
  }
}

TEST(FileBlobStore, ARootThatCannotBeMadeIsAnErrorNow) {
  const auto store = OpenFileBlobStore("/proc/nowhere");
  EXPECT_FALSE(store.ok());
  EXPECT_THAT(std::string(store.status().message()), ::testing::HasSubstr("/proc/nowhere"));
}

TEST(FileBlobStore, KeepsRoomOnTheDisk) {
  const std::string root = tests::FreshFolder();
  auto store = OpenFileBlobStore(root, uint64_t{1} << 62);
  ASSERT_TRUE(store.ok()) << store.status();
  const auto put = (*store)->PutIfAbsent("a", "x");
  EXPECT_EQ(put.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(put.status().message()),
              ::testing::HasSubstr("the disk of " + root + " is nearly full: "));
  EXPECT_EQ((*store)->Get("a").status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace tiltshift::store
