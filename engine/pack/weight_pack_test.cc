// Packs as files: what is written is found, and what is not what was written is refused with its
// reason.
#include "engine/pack/weight_pack.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "engine/pack/pack_writer.h"
#include "tests/support/folder_test.h"

namespace tiltshift::engine {
namespace {

using ::testing::HasSubstr;

class WeightPackTest : public tests::FolderTest {
 protected:
  std::string path() const { return folder_ + "/a.pack"; }

  static void Fill(char* piece, uint64_t bytes, int seed) {
    for (uint64_t i = 0; i < bytes; ++i) piece[i] = static_cast<char>(seed + i * 7 % 251);
  }
  // Pieces "0", "1", ... of these sizes, the last asked for first; each second one in one.
  void Write(const std::vector<uint64_t>& sizes) {
    const std::string places(sizes.size(), ' ');
    auto writer = PackWriter::Create(path(), {"packing", "identity", "model", {}});
    ASSERT_TRUE(writer.ok()) << writer.status();
    for (size_t i = 0; i < sizes.size(); ++i) {
      std::string piece(sizes[i], '\0');
      Fill(piece.data(), sizes[i], static_cast<int>(i));
      const bool in_one = i % 2 == 1;
      const auto fill = [piece, in_one](uint64_t from, std::span<char> out) {
        EXPECT_TRUE(!in_one || out.size() == piece.size());
        std::memcpy(out.data(), piece.data() + from, out.size());
      };
      (*writer)->Add(absl::StrCat(i), sizes[i],
                     {.fill = fill,
                      .parts = in_one ? PackWriter::Parts::kAll : PackWriter::Parts::kAny,
                      .at = places.data() + (sizes.size() - 1 - i)});
    }
    ASSERT_TRUE((*writer)->Seal().ok());
    ASSERT_TRUE((*writer)->Publish().ok());
  }
  std::string Bytes() const { return *ReadFile(path()); }
  std::string ReasonFor(const std::string& bytes) const {
    EXPECT_TRUE(WriteFileAtomic(path(), bytes, IfPresent::kReplace).ok());
    const auto pack = WeightPack::Open(path());
    EXPECT_TRUE(absl::IsDataLoss(pack.status())) << pack.status();
    return Message(pack.status());
  }
  // The file with another directory, and all its hashes right.
  static std::string WithDirectory(const std::string& pieces, uint64_t piece_bytes) {
    const std::string directory =
        R"({"packing": "p", "identity": "i", "model": "m", "pieces": [)" + pieces + "]}";
    std::string file = EncodePackHeader(kPackHeaderBytes + piece_bytes, directory);
    file.append(piece_bytes, '\0').append(directory);
    return file;
  }
};

TEST_F(WeightPackTest, WhatIsWrittenIsFound) {
  const std::vector<uint64_t> sizes = {1, 64, 0, 100'000, (uint64_t{7} << 20) + 1, 5};
  Write(sizes);
  const auto pack = WeightPack::Open(path());
  ASSERT_TRUE(pack.ok()) << pack.status();
  EXPECT_EQ((*pack)->directory().packing, "packing");
  EXPECT_EQ((*pack)->directory().identity, "identity");
  for (size_t i = 0; i < sizes.size(); ++i) {
    const char* piece = (*pack)->Find(absl::StrCat(i), sizes[i]);
    ASSERT_NE(piece, nullptr) << i;
    std::string expected(sizes[i], '\0');
    Fill(expected.data(), sizes[i], static_cast<int>(i));
    EXPECT_EQ(std::memcmp(piece, expected.data(), sizes[i]), 0) << i;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(piece) % kPackAlignment, 0u);
    EXPECT_EQ((*pack)->Find(absl::StrCat(i), sizes[i] + 1), nullptr);
  }
  EXPECT_EQ((*pack)->Find("none", 1), nullptr);
}

TEST_F(WeightPackTest, OneProcessWritesAndAKilledOnesFileIsTakenOver) {
  auto first = PackWriter::Create(path(), {});
  ASSERT_TRUE(first.ok());
  EXPECT_TRUE(absl::IsUnavailable(PackWriter::Create(path(), {}).status()));
  first->reset();
  EXPECT_FALSE(std::filesystem::exists(path() + ".tmp"));
  ASSERT_TRUE(WriteFileAtomic(path() + ".tmp", "half a file", IfPresent::kReplace).ok());
  Write({1000});
  EXPECT_FALSE(std::filesystem::exists(path() + ".tmp"));
  EXPECT_TRUE(WeightPack::Open(path()).ok());
}

TEST_F(WeightPackTest, AKeyHasOneSize) {
  auto writer = PackWriter::Create(path(), {});
  const auto fill = [](uint64_t, std::span<char> out) { std::ranges::fill(out, 'a'); };
  (*writer)->Add("a", 10, {fill});
  (*writer)->Add("a", 10, {[](uint64_t, std::span<char>) { FAIL() << "the first stays"; }});
  EXPECT_TRUE((*writer)->Write().ok());
  (*writer)->Add("a", 11, {fill});
  EXPECT_FALSE((*writer)->Seal().ok());
}

// No exception may leave the threads that fill.
TEST_F(WeightPackTest, WhatAFillThrowsIsSaid) {
  auto writer = PackWriter::Create(path(), {});
  (*writer)->Add("a", 10, {[](uint64_t, std::span<char>) { throw std::bad_alloc(); }});
  const auto sealed = (*writer)->Seal();
  EXPECT_TRUE(absl::IsResourceExhausted(sealed.status())) << sealed.status();
}

TEST_F(WeightPackTest, DamageIsRefused) {
  Write({1000, 5000});
  const std::string whole = Bytes();
  EXPECT_THAT(ReasonFor(""), HasSubstr("no file of packed weights"));
  EXPECT_THAT(ReasonFor(whole.substr(0, 100)), HasSubstr("no file of packed weights"));
  for (const size_t kept : {size_t{4096}, size_t{5000}, whole.size() - 1})
    EXPECT_THAT(ReasonFor(whole.substr(0, kept)),
                HasSubstr(absl::StrCat("has ", kept, " bytes of ", whole.size())));
  const auto changed = [&](size_t at) {
    std::string bytes = whole;
    bytes[at] ^= 1;
    return bytes;
  };
  EXPECT_THAT(ReasonFor(changed(0)), HasSubstr("no file of packed weights"));
  EXPECT_THAT(ReasonFor(changed(8)), HasSubstr("another version"));
  for (const size_t at : {16, 24, 40, 100})
    EXPECT_THAT(ReasonFor(changed(at)), HasSubstr("header is damaged"));
  EXPECT_THAT(ReasonFor(changed(whole.size() - 9)), HasSubstr("directory is damaged"));
  for (const size_t at :
       {size_t{4096}, size_t{4096 + 999}, size_t{4096 + 1024}, size_t{4096 + 1024 + 4999}})
    EXPECT_THAT(ReasonFor(changed(at)), HasSubstr("is not what was written"));
}

TEST_F(WeightPackTest, AHoleIsSeen) {
  Write({uint64_t{1} << 20});
  std::string bytes = Bytes();
  std::memset(&bytes[300'000], 0, 200'000);
  EXPECT_THAT(ReasonFor(bytes), HasSubstr("is not what was written"));
}

TEST_F(WeightPackTest, PiecesLieWithinTheFile) {
  const uint64_t sample = PackSample(std::string(64, '\0'));
  const auto piece = [&](const std::string& key, const std::string& offset,
                         const std::string& bytes) {
    return absl::StrCat("[\"", key, "\", ", offset, ", ", bytes, ", ", sample, "]");
  };
  EXPECT_TRUE(ParsePack(WithDirectory(piece("a", "4096", "64"), 64), "a").ok());
  const std::pair<std::string, std::string> wrong[] = {{"4096", "65"},
                                                       {"4160", "64"},
                                                       {"4128", "32"},
                                                       {"0", "64"},
                                                       {"4160", "1"},
                                                       {"8192", "0"},
                                                       {"18446744073709551552", "64"},
                                                       {"4096", "18446744073709551615"}};
  for (const auto& [offset, bytes] : wrong) {
    EXPECT_THAT(Message(ParsePack(WithDirectory(piece("a", offset, bytes), 64), "a").status()),
                HasSubstr("does not lie where pieces do"))
        << offset << " " << bytes;
  }
  const std::string twice = piece("a", "4096", "64") + "," + piece("a", "4160", "64");
  EXPECT_THAT(Message(ParsePack(WithDirectory(twice, 128), "a").status()),
              HasSubstr("stands twice"));
  for (const char* formless :
       {"1", "[]", "[\"a\", -1, 1, 1]", "[\"a\", 4096.5, 1, 1]", "[1, 4096, 1, 1]"}) {
    EXPECT_THAT(Message(ParsePack(WithDirectory(formless, 64), "a").status()),
                HasSubstr("is not [key, offset, bytes, sample]"));
  }
}

TEST_F(WeightPackTest, WhatEverybodyMayWriteIsLeftAlone) {
  Write({10});
  ASSERT_EQ(chmod(path().c_str(), 0666), 0);
  EXPECT_TRUE(absl::IsPermissionDenied(WeightPack::Open(path()).status()));
}

}  // namespace
}  // namespace tiltshift::engine
