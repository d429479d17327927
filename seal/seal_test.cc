#include <gmock/gmock.h>
#include <sys/stat.h>

#include <cstdlib>

#include "base/file.h"
#include "seal/farm_key.h"
#include "seal/sealed_photo.h"

namespace tiltshift::seal {
namespace {

using ::testing::HasSubstr;

const std::string kHex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

std::string Photo(size_t size) {
  std::string photo(size, '\0');
  for (size_t i = 0; i < size; ++i) photo[i] = static_cast<char>(i * 131 + i / 251);
  return photo;
}

FarmKey Key(const std::string& hex = kHex) { return *FarmKey::OfHex(hex, "test"); }

TEST(Seal, OpensToTheSameBytesAndShowsNoneOfThem) {
  const Secret key = NewPhotoKey();
  for (const size_t size : {0, 1, 65'535, 65'536, 65'537, 200'000}) {
    const std::string photo = Photo(size), sealed = Seal(photo, key, "p1");
    EXPECT_EQ(Open(sealed, key, "p1")->view(), photo) << size;
    if (size > 1) {
      EXPECT_EQ(sealed.find(photo.substr(0, 16)), std::string::npos);
    }
    EXPECT_NE(Seal(photo, key, "p1"), sealed);  // another nonce each time
  }
}

TEST(Seal, WhatIsNotAsItWasSealedDoesNotOpen) {
  const Secret key = NewPhotoKey();
  const std::string sealed = Seal(Photo(150'000), key, "p1");
  EXPECT_TRUE(absl::IsDataLoss(Open(sealed, key, "p2").status()));
  EXPECT_TRUE(absl::IsDataLoss(Open(sealed, NewPhotoKey(), "p1").status()));
  EXPECT_TRUE(absl::IsDataLoss(Open(sealed + "x", key, "p1").status()));
  // Cut at a chunk's end too.
  for (const size_t size : {0, 8, 31, 32, 48, 32 + 65'553, 32 + 2 * 65'553, 149'000})
    EXPECT_TRUE(absl::IsDataLoss(Open(sealed.substr(0, size), key, "p1").status())) << size;
  for (size_t at = 0; at < sealed.size(); at += 7'919) {
    std::string changed = sealed;
    changed[at] ^= 1;
    EXPECT_TRUE(absl::IsDataLoss(Open(changed, key, "p1").status())) << at;
  }
  std::string swapped = sealed;  // two chunks
  std::swap_ranges(swapped.begin() + 32, swapped.begin() + 32 + 65'553,
                   swapped.begin() + 32 + 65'553);
  EXPECT_TRUE(absl::IsDataLoss(Open(swapped, key, "p1").status()));
}

TEST(FarmKey, UnwrapsWhatItWrappedForThatPhotoAlone) {
  const FarmKey farm = Key();
  const Secret key = NewPhotoKey();
  const std::string wrapped = farm.Wrap(key, "p1");
  EXPECT_EQ(farm.Unwrap(wrapped, "p1")->view(), key.view());
  EXPECT_TRUE(absl::IsDataLoss(farm.Unwrap(wrapped, "p2").status()));
  EXPECT_EQ(wrapped.find(std::string(key.view())), std::string::npos);
  const FarmKey other = Key(FarmKey::RandomHexKey());
  const absl::Status status = other.Unwrap(wrapped, "p1").status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr(farm.id()));
  for (size_t size = 0; size < wrapped.size(); ++size)
    EXPECT_FALSE(farm.Unwrap(wrapped.substr(0, size), "p1").ok()) << size;
}

TEST(FarmKey, SignsSoThatAnyoneCanCheck) {
  const FarmKey farm = Key();
  const std::string signature = farm.Sign("destroyed");
  EXPECT_TRUE(IsSigned("destroyed", signature, farm.public_key()));
  EXPECT_FALSE(IsSigned("destroyed.", signature, farm.public_key()));
  EXPECT_FALSE(IsSigned("destroyed", signature, Key(FarmKey::RandomHexKey()).public_key()));
  EXPECT_FALSE(IsSigned("destroyed", signature.substr(2), farm.public_key()));
  EXPECT_FALSE(IsSigned("destroyed", "", ""));
  EXPECT_EQ(Key().public_key(), farm.public_key());
}

TEST(FarmKey, ComesFromAFileAVariableOrACommand) {
  const std::string path = testing::TempDir() + "/farm.key";
  ASSERT_TRUE(WriteFileAtomic(path, kHex + "\n", IfPresent::kReplace).ok());
  chmod(path.c_str(), 0644);
  EXPECT_THAT(std::string(FarmKey::Load("file:" + path).status().message()),
              HasSubstr("can be read by others: chmod 600"));
  chmod(path.c_str(), 0600);
  EXPECT_EQ(FarmKey::Load("file:" + path)->id(), Key().id());

  setenv("TS_TEST_KEY", kHex.c_str(), 1);
  EXPECT_EQ(FarmKey::Load("env:TS_TEST_KEY")->id(), Key().id());
  EXPECT_EQ(std::getenv("TS_TEST_KEY"), nullptr);
  EXPECT_THAT(std::string(FarmKey::Load("env:TS_TEST_KEY").status().message()),
              HasSubstr("no such variable"));

  EXPECT_EQ(FarmKey::Load("command:printf " + kHex)->id(), Key().id());
  EXPECT_THAT(std::string(FarmKey::Load("command:exit 3").status().message()),
              HasSubstr("the command failed (3)"));
  for (const char* where : {"", "file:", kHex.c_str(), "vault:x", "command:echo 12"})
    EXPECT_TRUE(absl::IsInvalidArgument(FarmKey::Load(where).status())) << where;
}

}  // namespace
}  // namespace tiltshift::seal
