// JSON that came with a model, parsed strictly: the files are other people's, so depth is bounded,
// a key may stand only once in an object, and an error has its file and place.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "nlohmann/json_fwd.hpp"

namespace tiltshift::engine {

// The text's object; Python's -Infinity, Infinity and NaN read as null. DataLoss: not JSON, not an
// object, nested deeper than 32, or a key twice.
absl::StatusOr<nlohmann::json> ParseJsonObject(std::string_view text, const std::string& file);

// Reads and parses; ResourceExhausted past 64 MB.
absl::StatusOr<nlohmann::json> ReadJsonObject(const std::string& path);

// Text from outside as an error may show it: quoted, control characters escaped, cut after 80
// characters.
std::string Quoted(std::string_view text);

// What the JSON library says of an error, cut and with bytes that are not printable escaped.
std::string JsonReason(std::string_view what);

}  // namespace tiltshift::engine
