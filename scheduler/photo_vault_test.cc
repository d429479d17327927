// The vault over a real blob store that dies after each of its writes in turn: whoever comes next
// finishes, whatever was left.
#include "scheduler/photo_vault.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "picture/png.h"
#include "seal/sealed_photo.h"
#include "store/photo_blobs.h"
#include "tests/support/folder_test.h"

namespace tiltshift::scheduler {
namespace {

using ::testing::HasSubstr;

// Writes and deletes until `left` is used up; then as if the process had been killed.
class MortalBlobs : public store::BlobStore {
 public:
  explicit MortalBlobs(store::BlobStore& blobs) : blobs_(blobs) {}
  absl::StatusOr<bool> PutIfAbsent(const std::string& key, std::string_view bytes) override {
    if (left-- <= 0) return absl::UnavailableError("dead");
    return blobs_.PutIfAbsent(key, bytes);
  }
  absl::StatusOr<std::string> Get(const std::string& key) override { return blobs_.Get(key); }
  absl::StatusOr<bool> Exists(const std::string& key) override { return blobs_.Exists(key); }
  absl::StatusOr<std::vector<std::string>> ListSome(const std::string& prefix,
                                                    size_t most) override {
    return blobs_.ListSome(prefix, most);
  }
  absl::Status Delete(const std::string& key) override {
    if (left-- <= 0) return absl::UnavailableError("dead");
    return blobs_.Delete(key);
  }
  int left = 1'000;

 private:
  store::BlobStore& blobs_;
};

class PhotoVaultTest : public tests::FolderTest {
 protected:
  void SetUp() override {
    setenv("PATH", (TILTSHIFT_BINARY_DIR "/bin:" + std::string(getenv("PATH"))).c_str(), 1);
    Empty();
    std::vector<uint8_t> rgb(64 * 48 * 3);
    for (size_t i = 0; i < rgb.size(); ++i) rgb[i] = static_cast<uint8_t>(i * 7 + i / 100);
    photo_ = *picture::EncodePng(64, 48, rgb);
  }
  void Empty() {
    std::filesystem::remove_all(folder_);
    disk_ = *store::OpenFileBlobStore(folder_);
  }
  // A new leader's.
  std::unique_ptr<PhotoVault> Vault(store::BlobStore& blobs, char farm_key = '7',
                                    uint64_t most_bytes = 0) {
    auto vault = std::make_unique<PhotoVault>(
        blobs, *seal::FarmKey::OfHex(std::string(64, farm_key), "test"), clock_, metrics_,
        [=](const std::string&) { return most_bytes; });
    EXPECT_TRUE(vault->Load().ok());
    return vault;
  }
  absl::StatusOr<std::string> Store(PhotoVault& vault, const std::string& request = "r") {
    v1::PhotoStart start;
    start.set_tenant("default");
    start.set_request_id(request);
    start.set_bytes(photo_.size());
    auto stored = vault.Store(start, seal::Secret::Of(photo_));
    if (!stored.ok()) return stored.status();
    return stored->photo_id();
  }
  struct Job {
    std::string id, tenant = "default";
    bool others_are_jobs = false;
  };
  // Of the first that can't be bound.
  static absl::Status Bind(PhotoVault& vault, const std::set<std::string>& ids, const Job& job) {
    const auto refused = vault.Bind(
        ids, {job.tenant, job.id, [&](const std::string&) { return job.others_are_jobs; }});
    if (!refused.ok()) return refused.status();
    return refused->empty() ? absl::OkStatus() : refused->begin()->second;
  }
  static v1::PhotoEnding Ending(const std::string& why) {
    v1::PhotoEnding ending;
    ending.set_why(why);
    ending.set_job_id("j1");
    ending.add_entry_ids("e1");
    return ending;
  }
  std::vector<std::string> Keys() { return *disk_->List("photos/"); }

  std::string photo_;
  std::unique_ptr<store::BlobStore> disk_;
  ManualClock clock_;
  monitoring::Registry registry_;
  monitoring::SchedulerMetrics metrics_{registry_};
};

TEST_F(PhotoVaultTest, OpensForItsJobAloneAndDiesOnce) {
  auto vault = Vault(*disk_);
  const std::string id = *Store(*vault);
  EXPECT_EQ(*Store(*vault), id);  // a repeat
  EXPECT_NE(*Store(*vault, ""), *Store(*vault, ""));
  photo_[photo_.size() - 1] ^= 1;  // still a PNG that opens, to libvips
  EXPECT_FALSE(Store(*vault).ok());
  photo_[photo_.size() - 1] ^= 1;

  EXPECT_TRUE(absl::IsNotFound(Bind(*vault, {id}, {"j1", "other"})));
  EXPECT_TRUE(absl::IsNotFound(vault->Open(id, "j1").status()));
  ASSERT_TRUE(Bind(*vault, {id}, {"j1"}).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(Bind(*vault, {id}, {"j2", "default", true})));
  EXPECT_TRUE(absl::IsNotFound(vault->Open(id, "j2").status()));
  const auto key = Vault(*disk_)->Open(id, "j1");  // after a change of leader too
  ASSERT_TRUE(key.ok()) << key.status();
  EXPECT_EQ(seal::Open(*store::GetSealedPhoto(*disk_, id), *key, id)->view(), photo_);

  EXPECT_TRUE(*vault->Destroy(id, Ending("its entry has ended")));
  EXPECT_FALSE(*vault->Destroy(id, Ending("again")));
  EXPECT_TRUE(absl::IsNotFound(vault->Open(id, "j1").status()));
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/photos/" + id));
  EXPECT_EQ(*Store(*vault), id);  // a late repeat does not bring it back
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/photos/" + id));
  EXPECT_TRUE(absl::IsNotFound(Bind(*vault, {id}, {"j1"})));

  const v1::Receipt receipt = *store::GetReceipt(*disk_, id);
  EXPECT_EQ(receipt.public_key(), vault->public_key());
  EXPECT_TRUE(seal::IsSigned(receipt.statement(), receipt.signature(), vault->public_key()));
  const auto statement = nlohmann::json::parse(receipt.statement());
  EXPECT_EQ(statement["photo"], id);
  EXPECT_EQ(statement["why"], "its entry has ended");
  EXPECT_EQ(statement["entries"], nlohmann::json({"e1"}));
  EXPECT_EQ(statement["sealed_sha256"].get<std::string>().size(), 64u);
}

// I6, at every moment: a write that was not reached is made by the next leader.
TEST_F(PhotoVaultTest, WhatAKilledLeaderLeftIsFinished) {
  for (int writes = 0;; ++writes) {
    SCOPED_TRACE(writes);
    Empty();
    MortalBlobs mortal(*disk_);
    auto first = Vault(mortal);
    mortal.left = writes;
    const auto id = Store(*first);
    bool bound = false, destroyed = false;
    if (id.ok()) bound = Bind(*first, {*id}, {"j1"}).ok();
    if (bound) destroyed = first->Destroy(*id, Ending("first")).ok();

    auto second = Vault(*disk_);
    if (!id.ok()) {
      EXPECT_TRUE(second->Kept().empty());
      EXPECT_TRUE(Keys().empty());
      continue;
    }
    for (const KeptPhoto& photo : second->Kept()) {
      EXPECT_TRUE(photo.ending || photo.job_id == (bound ? "j1" : "")) << photo.job_id;
      EXPECT_TRUE(*second->Destroy(photo.id, Ending("second")));
    }
    EXPECT_TRUE(Keys().empty());
    const auto receipt = store::GetReceipt(*disk_, *id);
    ASSERT_TRUE(receipt.ok()) << receipt.status();
    EXPECT_TRUE(seal::IsSigned(receipt->statement(), receipt->signature(), receipt->public_key()));
    if (destroyed) break;
  }
}

// However many a batch of entries names.
TEST_F(PhotoVaultTest, PhotosBecomeAJobsInOneWriteOrNotAtAll) {
  MortalBlobs mortal(*disk_);
  auto vault = Vault(mortal);
  std::set<std::string> ids;
  for (int i = 0; i < 5; ++i) ids.insert(*Store(*vault, absl::StrCat("r", i)));
  mortal.left = 0;
  EXPECT_TRUE(absl::IsUnavailable(Bind(*vault, ids, {"j1"})));
  mortal.left = 1;
  ASSERT_TRUE(Bind(*vault, ids, {"j1"}).ok());
  EXPECT_TRUE(Bind(*vault, ids, {"j1"}).ok()) << "again is nothing to write";
  auto next = Vault(*disk_);
  for (const KeptPhoto& photo : next->Kept()) EXPECT_EQ(photo.job_id, "j1");
  // A job that was never accepted keeps nothing; the later binding counts.
  ASSERT_TRUE(Bind(*next, {*ids.begin()}, {"j2"}).ok());
  EXPECT_TRUE(Vault(*disk_)->Open(*ids.begin(), "j2").ok());

  const std::string free = *Store(*next, "free");
  const auto refused =
      next->Bind({free, "p0", *ids.rbegin()},
                 {"default", "j3", [](const std::string& job) { return job == "j1"; }});
  ASSERT_TRUE(refused.ok()) << refused.status();
  EXPECT_EQ(refused->size(), 2u);
  EXPECT_TRUE(absl::IsNotFound(refused->at("p0")));
  EXPECT_TRUE(absl::IsFailedPrecondition(refused->at(*ids.rbegin())));
  EXPECT_TRUE(absl::IsNotFound(next->Open(free, "j3").status()));

  EXPECT_EQ(disk_->List("bindings/")->size(), 2u);
  ids.insert(free);
  for (const std::string& id : ids) EXPECT_TRUE(*next->Destroy(id, Ending("over")));
  ASSERT_TRUE(next->Load().ok());
  EXPECT_TRUE(disk_->List("bindings/")->empty());
}

TEST_F(PhotoVaultTest, ATenantHasSoManyBytesOfPhotos) {
  auto vault = Vault(*disk_, '7', 2 * photo_.size() + 100);
  const std::string first = *Store(*vault, "1");
  ASSERT_TRUE(Store(*vault, "2").ok());
  EXPECT_TRUE(Store(*vault, "2").ok()) << "it is there already";
  EXPECT_THAT(Message(Store(*vault, "3").status()), HasSubstr("tenant default has photos of"));
  EXPECT_FALSE(Store(*Vault(*disk_, '7', 2 * photo_.size()), "3").ok())
      << "for the next leader too";
  EXPECT_TRUE(*vault->Destroy(first, Ending("over")));
  EXPECT_TRUE(Store(*vault, "3").ok());
}

// `tiltshift render` has another farm key each time: what it left is sealed anew when it is sent
// again.
TEST_F(PhotoVaultTest, APhotoOfALostFarmKeyIsTakenAnew) {
  const std::string id = *Store(*Vault(*disk_));
  ASSERT_TRUE(Bind(*Vault(*disk_), {id}, {"j1"}).ok());
  auto vault = Vault(*disk_, '8');
  const absl::Status lost = vault->Open(id, "j1").status();
  EXPECT_TRUE(absl::IsUnavailable(lost)) << lost;
  EXPECT_THAT(std::string(lost.message()), HasSubstr("wrapped by the farm key"));
  EXPECT_EQ(*Store(*vault), id);
  const auto key = vault->Open(id, "j1");
  ASSERT_TRUE(key.ok()) << key.status();
  EXPECT_EQ(seal::Open(*store::GetSealedPhoto(*disk_, id), *key, id)->view(), photo_);
}

TEST_F(PhotoVaultTest, TakesNoPhotosWithoutAFarmKeyAndNothingThatIsNone) {
  PhotoVault without(*disk_, std::nullopt, clock_, metrics_);
  ASSERT_TRUE(without.Load().ok());
  EXPECT_THAT(std::string(Store(without).status().message()), HasSubstr("has no --farm-key"));
  photo_ = "GIF89a";
  auto vault = Vault(*disk_);
  EXPECT_THAT(std::string(Store(*vault).status().message()),
              HasSubstr("no JPEG, PNG, WebP or HEIC photo"));
  EXPECT_TRUE(Keys().empty());
}

}  // namespace
}  // namespace tiltshift::scheduler
