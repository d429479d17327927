// Texts of a spec: what a prompt, a name or an axis' value may hold at all.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace tiltshift::plan {

// At most `longest` bytes of UTF-8 without a zero byte; else InvalidArgument that begins with
// `path`, the field's.
absl::Status CheckText(const std::string& path, std::string_view text, size_t longest);

// Of names that stand in files and commands: letters, digits, '.', '_' and '-'.
bool IsNameCharacter(unsigned char c);

// Well-formed UTF-8 as Unicode defines it (table 3-7): no overlong forms, no surrogates.
bool IsUtf8(std::string_view text);

}  // namespace tiltshift::plan
