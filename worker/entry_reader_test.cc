#include "worker/entry_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "store/entry_batches.h"
#include "tests/support/process.h"

namespace tiltshift::worker {
namespace {

using ::testing::HasSubstr;

class EntryReaderTest : public ::testing::Test {
 protected:
  EntryReaderTest() {
    spec_.set_kind(v1::JOB_KIND_CONTEST);
    spec_.set_name("n");
    spec_.set_model("m");
  }
  // A batch of these ids, stored as the next one.
  void Add(const std::vector<std::string>& ids) {
    v1::Entries batch;
    batch.add_columns("id");
    batch.add_columns("prompt");
    for (const std::string& id : ids) {
      v1::Entry& entry = *batch.add_entries();
      entry.add_values(id);
      entry.add_values("a " + id);
    }
    const auto number = static_cast<uint64_t>(spec_.contest().batches_size());
    ASSERT_TRUE(*store::PutBatch(*blobs_, "j", number, batch));
    plan::AddBatch(batch, "", spec_);
  }
  std::string PromptAt(uint64_t index) {
    const auto plan = plan::Plan::Create(spec_);
    EXPECT_TRUE(plan.ok()) << plan.status();
    const auto variant = reader_.VariantAt("j", *plan, index);
    return variant.ok() ? variant->prompt : std::string(variant.status().message());
  }
  std::string PathOf(int number) const {
    return folder_ + "/jobs/j/entries/00000" + std::to_string(number) + ".binpb";
  }

  const std::string folder_ = tests::FreshFolder();
  std::unique_ptr<store::BlobStore> blobs_ = *store::OpenFileBlobStore(folder_);
  v1::JobSpec spec_;
  EntryReader reader_{*blobs_};
};

TEST_F(EntryReaderTest, FindsTheRowOfAVariant) {
  Add({"owl", "fox"});
  Add({"hen"});
  spec_.add_axes()->set_name("seed");
  spec_.mutable_axes(0)->set_range("1-3");
  EXPECT_EQ(PromptAt(0), "a owl");
  EXPECT_EQ(PromptAt(5), "a fox");
  EXPECT_EQ(PromptAt(6), "a hen");
  EXPECT_EQ(PromptAt(8), "a hen");
}

TEST_F(EntryReaderTest, KeepsWhatItHasRead) {
  Add({"owl"});
  EXPECT_EQ(PromptAt(0), "a owl");
  std::filesystem::remove(PathOf(0));
  EXPECT_EQ(PromptAt(0), "a owl");
  Add({"fox"});
  std::filesystem::remove(PathOf(1));
  EXPECT_THAT(PromptAt(1), HasSubstr("000001.binpb"));
}

TEST_F(EntryReaderTest, ADamagedBatchFailsItsVariants) {
  Add({"owl", "fox"});
  ASSERT_TRUE(WriteFileAtomic(PathOf(0), "\xff", IfPresent::kReplace).ok());
  EXPECT_THAT(PromptAt(0), HasSubstr("000000.binpb is damaged"));
  v1::Entries fewer;
  fewer.add_columns("id");
  fewer.add_entries()->add_values("owl");
  ASSERT_TRUE(WriteFileAtomic(PathOf(0), fewer.SerializeAsString(), IfPresent::kReplace).ok());
  EXPECT_THAT(PromptAt(1), HasSubstr("lacks entry 1"));
}

}  // namespace
}  // namespace tiltshift::worker
