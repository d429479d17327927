// Percent-encoding, as addresses and S3 have it.
#pragma once

#include <optional>
#include <string>

namespace tiltshift::store {

// Everything but A-Z a-z 0-9 - . _ ~ as %XX, upper case; '/' too unless `keep_slash`.
std::string PercentEncoded(const std::string& text, bool keep_slash);

// nullopt where a '%' is not followed by two hexadecimal digits.
std::optional<std::string> PercentDecoded(const std::string& text);

}  // namespace tiltshift::store
