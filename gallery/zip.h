// A zip file written as it goes: entries stored as they are (pictures don't get smaller), names in
// UTF-8. APPNOTE 6.3.10, without Zip64: less than 4 GiB and 65,535 entries.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "gallery/http_message.h"

namespace tiltshift::gallery {

class ZipWriter {
 public:
  explicit ZipWriter(HttpWriter& out) : out_(out) {}

  // False: the reader is gone, or the bounds are met; the file can't be ended then.
  bool Add(const std::string& name, std::string_view bytes);
  bool End();

 private:
  struct Entry {
    std::string name;
    uint32_t checksum, size, offset;
  };
  bool Write(std::string_view bytes);

  HttpWriter& out_;
  uint64_t written_ = 0;
  std::vector<Entry> entries_;
};

}  // namespace tiltshift::gallery
