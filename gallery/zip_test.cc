#include "gallery/zip.h"

#include <gmock/gmock.h>

namespace tiltshift::gallery {
namespace {

class TextWriter : public HttpWriter {
 public:
  bool Write(std::string_view bytes) override {
    text.append(bytes);
    return text.size() < most;
  }
  bool Pause(int) override { return true; }
  std::string text;
  size_t most = 1 << 20;
};

uint32_t U32(const std::string& text, size_t at) {
  uint32_t value = 0;
  for (int i = 3; i >= 0; --i) value = value << 8 | static_cast<uint8_t>(text[at + i]);
  return value;
}

// As APPNOTE says it: from the end to the directory, from there to each file.
TEST(Zip, ReadersFindWhatWasPutIn) {
  TextWriter out;
  ZipWriter zip(out);
  ASSERT_TRUE(zip.Add("a.txt", "123456789") && zip.Add("\xC3\xA4/b", "") && zip.End());
  const std::string& text = out.text;
  const size_t end = text.size() - 22;
  ASSERT_EQ(U32(text, end), 0x06054b50u);
  EXPECT_EQ(U32(text, end + 8), 0x00020002u) << "two entries, here and in all";
  const uint32_t directory = U32(text, end + 16);
  ASSERT_EQ(directory + U32(text, end + 12), end);
  ASSERT_EQ(U32(text, directory), 0x02014b50u);
  EXPECT_EQ(U32(text, directory + 16), 0xCBF43926u) << "the CRC-32 of 123456789";
  EXPECT_EQ(U32(text, directory + 24), 9u);
  EXPECT_EQ(text.substr(directory + 46, 5), "a.txt");
  const uint32_t second = directory + 46 + 5;
  EXPECT_EQ(text.substr(second + 46, 4), "\xC3\xA4/b");
  const uint32_t file = U32(text, second + 42);
  EXPECT_EQ(U32(text, file), 0x04034b50u);
  EXPECT_EQ(text.substr(30, 5 + 9), "a.txt123456789");
}

TEST(Zip, StopsWhereTheReaderIsGone) {
  TextWriter out;
  out.most = 20;
  ZipWriter zip(out);
  EXPECT_FALSE(zip.Add("a.txt", "123456789"));
}

}  // namespace
}  // namespace tiltshift::gallery
