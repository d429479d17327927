#include "base/shortened.h"

#include "absl/strings/str_cat.h"

namespace tiltshift {

std::string Shortened(const std::string& text, size_t most) {
  constexpr absl::string_view kDots = "...";
  if (text.size() <= most) return text;
  size_t end = most - kDots.size();
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return absl::StrCat(text.substr(0, end), kDots);
}

}  // namespace tiltshift
