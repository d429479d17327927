#include "gallery/zip.h"

#include <zlib.h>

#include <limits>

namespace tiltshift::gallery {
namespace {

constexpr uint16_t kNeeds = 20;  // version 2.0
constexpr uint16_t kUtf8 = 1 << 11;
constexpr uint16_t kFirstDay = 0x21;  // 1 January 1980: the same pictures are the same file
constexpr size_t kMostEntries = 65'000;
constexpr uint64_t kMostBytes = std::numeric_limits<uint32_t>::max() - (16u << 20);

// Little-endian, as all of the format.
class Record {
 public:
  Record& U16(uint16_t value) { return Bytes(value, 2); }
  Record& U32(uint32_t value) { return Bytes(value, 4); }
  Record& Text(std::string_view text) {
    text_.append(text);
    return *this;
  }
  const std::string& text() const { return text_; }

 private:
  Record& Bytes(uint32_t value, int count) {
    for (int i = 0; i < count; ++i) text_.push_back(static_cast<char>(value >> (8 * i) & 0xff));
    return *this;
  }
  std::string text_;
};

}  // namespace

bool ZipWriter::Write(std::string_view bytes) {
  written_ += bytes.size();
  return out_.Write(bytes);
}

bool ZipWriter::Add(const std::string& name, std::string_view bytes) {
  if (entries_.size() >= kMostEntries || name.size() > 4'096 ||
      written_ + bytes.size() > kMostBytes)
    return false;
  const auto size = static_cast<uint32_t>(bytes.size());
  const auto checksum = static_cast<uint32_t>(
      crc32(0, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(size)));
  entries_.push_back({name, checksum, size, static_cast<uint32_t>(written_)});
  Record head;
  head.U32(0x04034b50).U16(kNeeds).U16(kUtf8).U16(0).U16(0).U16(kFirstDay);
  head.U32(checksum).U32(size).U32(size).U16(static_cast<uint16_t>(name.size())).U16(0).Text(name);
  return Write(head.text()) && Write(bytes);
}

bool ZipWriter::End() {
  const auto start = static_cast<uint32_t>(written_);
  for (const Entry& entry : entries_) {
    Record record;
    record.U32(0x02014b50).U16(kNeeds).U16(kNeeds).U16(kUtf8).U16(0).U16(0).U16(kFirstDay);
    record.U32(entry.checksum).U32(entry.size).U32(entry.size);
    record.U16(static_cast<uint16_t>(entry.name.size())).U16(0).U16(0).U16(0).U16(0).U32(0);
    record.U32(entry.offset).Text(entry.name);
    if (!Write(record.text())) return false;
  }
  Record end;
  const auto count = static_cast<uint16_t>(entries_.size());
  end.U32(0x06054b50).U16(0).U16(0).U16(count).U16(count);
  end.U32(static_cast<uint32_t>(written_) - start).U32(start).U16(0);
  return Write(end.text());
}

}  // namespace tiltshift::gallery
