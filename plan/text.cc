#include "plan/text.h"

#include <cctype>
#include <cstdint>

namespace tiltshift::plan {

bool IsNameCharacter(unsigned char c) {
  return std::isalnum(c) || c == '.' || c == '_' || c == '-';
}

bool IsUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto byte = [&](size_t at) -> uint8_t { return static_cast<uint8_t>(text[at]); };
    const uint8_t lead = byte(i);
    const size_t more = lead < 0x80 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    if ((lead >= 0x80 && lead < 0xc2) || lead > 0xf4 || more >= text.size() - i) return false;
    for (size_t k = 1; k <= more; ++k) {
      if ((byte(i + k) & 0xc0) != 0x80) return false;
    }
    const uint8_t second = more > 0 ? byte(i + 1) : 0;
    const bool overlong = (lead == 0xe0 && second < 0xa0) || (lead == 0xf0 && second < 0x90);
    const bool surrogate = lead == 0xed && second >= 0xa0;
    const bool too_large = lead == 0xf4 && second >= 0x90;
    if (overlong || surrogate || too_large) return false;
    i += more + 1;
  }
  return true;
}

absl::Status CheckText(const std::string& path, std::string_view text, size_t longest) {
  const auto bad = [&](const std::string& what) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", what));
  };
  if (text.size() > longest) return bad(absl::StrCat("longer than ", longest, " bytes"));
  if (text.find('\0') != std::string_view::npos) return bad("holds a zero byte");
  if (!IsUtf8(text)) return bad("is not UTF-8; save the file as UTF-8");
  return absl::OkStatus();
}

}  // namespace tiltshift::plan
