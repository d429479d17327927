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

class PhotoVaultTest : public ::testing::Test {
 protected:
  void SetUp() override {
    setenv("PATH", (TILTSHIFT_BINARY_DIR "/bin:" + std::string(getenv("PATH"))).c_str(), 1);
    Empty();
    std::vector<uint8_t> rgb(64 * 48 * 3);
    for (size_t i = 0; i < rgb.size(); ++i) rgb[i] = static_cast<uint8_t>(i * 7 + i / 100);
    photo_ = *picture::EncodePng(64, 48, rgb);
  }
  void Empty() {
    folder_ = testing::TempDir() + "/vault";
    std::filesystem::remove_all(folder_);
    disk_ = *store::OpenFileBlobStore(folder_);
  }
  // A new leader's.
  std::unique_ptr<PhotoVault> Vault(store::BlobStore& blobs, char farm_key = '7') {
    auto vault = std::make_unique<PhotoVault>(
        blobs, *seal::FarmKey::OfHex(std::string(64, farm_key), "test"), clock_, metrics_);
    EXPECT_TRUE(vault->Load().ok());
    return vault;
  }
  absl::StatusOr<std::string> Store(PhotoVault& vault, const std::string& request = "r") {
    auto stored = vault.Store("default", request, seal::Secret::Of(photo_));
    if (!stored.ok()) return stored.status();
    return stored->photo_id();
  }
  static v1::PhotoEnding Ending(const std::string& why) {
    v1::PhotoEnding ending;
    ending.set_why(why);
    ending.set_job_id("j1");
    ending.add_entry_ids("e1");
    return ending;
  }
  std::vector<std::string> Keys() { return *disk_->List("photos/"); }

  std::string folder_, photo_;
  std::unique_ptr<store::BlobStore> disk_;
  ManualClock clock_;
  monitoring::Registry registry_;
  monitoring::SchedulerMetrics metrics_{registry_};
};

const auto kNoJobs = [](const std::string&) { return false; };
const auto kAllJobs = [](const std::string&) { return true; };

TEST_F(PhotoVaultTest, OpensForItsJobAloneAndDiesOnce) {
  auto vault = Vault(*disk_);
  const std::string id = *Store(*vault);
  EXPECT_EQ(*Store(*vault), id);  // a repeat
  EXPECT_NE(*Store(*vault, ""), *Store(*vault, ""));
  photo_[photo_.size() - 1] ^= 1;  // still a PNG that opens, to libvips
  EXPECT_FALSE(Store(*vault).ok());
  photo_[photo_.size() - 1] ^= 1;

  EXPECT_TRUE(absl::IsNotFound(vault->Bind(id, "other", "j1", kNoJobs)));
  EXPECT_TRUE(absl::IsNotFound(vault->Open(id, "j1").status()));
  ASSERT_TRUE(vault->Bind(id, "default", "j1", kNoJobs).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(vault->Bind(id, "default", "j2", kAllJobs)));
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
  EXPECT_TRUE(absl::IsNotFound(vault->Bind(id, "default", "j1", kNoJobs)));

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
    if (id.ok()) bound = first->Bind(*id, "default", "j1", kNoJobs).ok();
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

// `tiltshift render` has another farm key each time: what it left is sealed anew when it is sent
// again.
TEST_F(PhotoVaultTest, APhotoOfALostFarmKeyIsTakenAnew) {
  const std::string id = *Store(*Vault(*disk_));
  ASSERT_TRUE(Vault(*disk_)->Bind(id, "default", "j1", kNoJobs).ok());
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
