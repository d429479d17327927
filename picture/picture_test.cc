#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>
#include <thread>

#include "base/file.h"
#include "picture/photo.h"
#include "picture/png.h"
#include "picture/png_chunk.h"
#include "picture/sheet.h"
#include "picture/smaller.h"

namespace tiltshift::picture {
namespace {

Image Noise(int width, int height, unsigned seed) {
  std::mt19937 random(seed);
  Image image{width, height, std::vector<uint8_t>(static_cast<size_t>(width) * height * 3)};
  for (auto& value : image.rgb) value = static_cast<uint8_t>(random() % 64 + 64);
  return image;
}

std::string Encode(const Image& image) { return *EncodePng(image.width, image.height, image.rgb); }

TEST(Png, RoundTrip) {
  const Image image = Noise(37, 21, 1);
  const auto back = DecodePng(Encode(image));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->width, 37);
  EXPECT_EQ(back->height, 21);
  EXPECT_EQ(back->rgb, image.rgb);
}

// I4 reaches as far as the file.
TEST(Png, SamePixelsSameBytesFromAnyThread) {
  const Image image = Noise(256, 256, 2);
  const std::string once = Encode(image);
  std::vector<std::string> bytes(8);
  std::vector<std::thread> threads;
  for (auto& result : bytes) threads.emplace_back([&] { result = Encode(image); });
  for (auto& thread : threads) thread.join();
  EXPECT_THAT(bytes, ::testing::Each(once));
  EXPECT_EQ(once.find("tEXt"), std::string::npos);
  EXPECT_EQ(once.find("tIME"), std::string::npos);
}

TEST(Png, HostileBytesAreErrors) {
  const std::string good = Encode(Noise(64, 64, 3));
  EXPECT_FALSE(DecodePng("").ok());
  EXPECT_FALSE(DecodePng("<svg/>").ok());
  for (size_t size = 0; size < good.size() - 12; size += 97)
    EXPECT_FALSE(DecodePng(good.substr(0, size)).ok()) << size;
}

// A header alone makes a promise of 2.7 GB; nothing may be decoded, or allocated, on its word.
TEST(Png, TooManyPixelsAreRefusedByTheHeader) {
  std::string huge = Encode(Noise(64, 64, 3));
  huge.replace(16, 8, std::string("\0\0\x75\x30\0\0\x75\x30", 8));  // IHDR: 30000 x 30000
  huge.replace(29, 4, "\xe9\x45\x6f\xed");                          // and its right CRC
  EXPECT_EQ(DecodePng(huge).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(Smaller, HasItsSizeAndItsColours) {
  Image image{400, 200, std::vector<uint8_t>(400 * 200 * 3)};
  for (size_t i = 0; i < image.rgb.size(); ++i) image.rgb[i] = i % 1200 < 600 ? 30 : 220;
  const auto jpeg = SmallerJpeg(Encode(image), 100);
  ASSERT_TRUE(jpeg.ok()) << jpeg.status();
  const auto back = DecodePhoto(*jpeg);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->width, 100);
  EXPECT_EQ(back->height, 50);
  EXPECT_NEAR(back->rgb[(25 * 100 + 20) * 3], 30, 3);
  EXPECT_NEAR(back->rgb[(25 * 100 + 80) * 3], 220, 3);
  const auto as_large = DecodePhoto(*SmallerJpeg(Encode(Noise(40, 24, 5)), 100));
  ASSERT_TRUE(as_large.ok());
  EXPECT_EQ(as_large->width, 40) << "nothing is made larger";
  EXPECT_FALSE(SmallerJpeg("<svg/>", 100).ok());
}

TEST(PngChunk, APacketGoesInAndComesOut) {
  const Image image = Noise(16, 16, 4);
  const std::string plain = Encode(image);
  EXPECT_EQ(*XmpOf(plain), "");
  const auto with = WithXmp(plain, "<x:xmpmeta>\xc3\xa9</x:xmpmeta>");
  ASSERT_TRUE(with.ok());
  EXPECT_EQ(*XmpOf(*with), "<x:xmpmeta>\xc3\xa9</x:xmpmeta>");
  EXPECT_EQ(DecodePng(*with)->rgb, image.rgb);
  EXPECT_FALSE(WithXmp("no PNG", "x").ok());
  EXPECT_FALSE(WithXmp(plain.substr(0, 20), "x").ok());
  for (size_t size = 0; size < with->size(); ++size)
    EXPECT_TRUE(!XmpOf(with->substr(0, size)).ok() || size > 60) << size;
  std::string flipped = *with;
  flipped[60] = static_cast<char>(flipped[60] ^ 1);
  EXPECT_FALSE(XmpOf(flipped).ok());
}

TEST(Sheet, HasItsSizeItsPicturesAndInk) {
  const std::string folder = ::testing::TempDir();
  std::vector<SheetCell> cells;
  for (unsigned i = 0; i < 5; ++i) {
    const std::string path = folder + "/cell" + std::to_string(i) + ".png";
    ASSERT_TRUE(
        WriteFileAtomic(path, Encode(Noise(64, i == 4 ? 32 : 64, i)), IfPresent::kReplace).ok());
    cells.push_back({path, i == 3 ? std::string(300, 'w') + " <&>" : "robot · red"});
  }
  const auto sheet = DrawSheet(cells, {.columns = 3, .cell_pixels = 64, .title = "a <b> & c"});
  ASSERT_TRUE(sheet.ok()) << sheet.status();
  EXPECT_EQ(sheet->width, 2 * 28 + 3 * 64 + 2 * 18);
  auto dark = [&](int left, int top, int width, int height) {
    int count = 0;
    for (int y = top; y < top + height; ++y) {
      for (int x = left; x < left + width; ++x)
        count += sheet->rgb[(static_cast<size_t>(y) * sheet->width + x) * 3] < 200;
    }
    return count;
  };
  EXPECT_GT(dark(28, 28, 192, 40), 50);          // the title
  EXPECT_EQ(dark(28, 92, 64, 64), 64 * 64);      // the first picture
  EXPECT_GT(dark(28, 92 + 64 + 8, 64, 38), 50);  // its label
  EXPECT_EQ(dark(0, 0, 28, sheet->height), 0);   // the margin stays clean
}

// Labels are users' prompts. Both are cut at two lines, so what follows must not matter, nor take
// time: laid out whole, the long one takes minutes.
TEST(Sheet, ALongLabelIsCutLikeAShorterOne) {
  const std::string path = ::testing::TempDir() + "/long_label.png";
  ASSERT_TRUE(WriteFileAtomic(path, Encode(Noise(64, 64, 1)), IfPresent::kReplace).ok());
  std::vector<std::vector<uint8_t>> sheets;
  for (const size_t letters : {1'000, 1'000'000}) {
    const std::vector<SheetCell> cells = {{path, std::string(letters, 'w')}};
    const auto sheet = DrawSheet(cells, {.cell_pixels = 128});
    ASSERT_TRUE(sheet.ok()) << sheet.status();
    sheets.push_back(sheet->rgb);
  }
  EXPECT_TRUE(sheets[0] == sheets[1]);
}

// Neither letters without ascenders and descenders make room for a third line, nor does a letter
// with both cost the second.
TEST(Sheet, ALabelHasTwoLines) {
  const std::string path = ::testing::TempDir() + "/two_lines.png";
  ASSERT_TRUE(WriteFileAtomic(path, Encode(Noise(64, 64, 1)), IfPresent::kReplace).ok());
  for (const std::string word : {"xmas ", "jolly ", "Ågjy "}) {
    std::string label;
    for (int i = 0; i < 100; ++i) label += word;
    const std::vector<SheetCell> cells = {{path, label}};
    const auto sheet = DrawSheet(cells, {.cell_pixels = 128});
    ASSERT_TRUE(sheet.ok()) << sheet.status();
    const int top = 28 + 128 + 8;
    int last = 0;  // the lowest row with ink
    for (int y = top; y < sheet->height; ++y) {
      for (int x = 0; x < sheet->width; ++x)
        if (sheet->rgb[(static_cast<size_t>(y) * sheet->width + x) * 3] < 180) last = y - top;
    }
    EXPECT_GT(last, 20) << word;  // into the second line
    EXPECT_LT(last, 38) << word;  // above the third
  }
}

TEST(Sheet, ErrorsNameThePicture) {
  const std::vector<SheetCell> missing = {{"/nonexistent/a.png", "a"}};
  EXPECT_THAT(std::string(DrawSheet(missing, {}).status().message()),
              ::testing::HasSubstr("/nonexistent/a.png"));
  EXPECT_FALSE(DrawSheet({}, {}).ok());
  EXPECT_FALSE(DrawSheet(std::vector<SheetCell>(kMostCells + 1), {}).ok());
}

}  // namespace
}  // namespace tiltshift::picture
