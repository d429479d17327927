// The files of gallery/page, as they were when this was built: page_files.cc is made from them by
// embed.cmake.
#pragma once

#include <span>
#include <string_view>

namespace tiltshift::gallery {

struct PageFile {
  std::string_view name;  // "app.js"
  std::string_view bytes;
};

std::span<const PageFile> PageFiles();

}  // namespace tiltshift::gallery
