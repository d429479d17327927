#include "engine/json_text.h"

#include <set>
#include <vector>

#include "absl/strings/escaping.h"
#include "base/file.h"
#include "nlohmann/json.hpp"

namespace tiltshift::engine {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 32;
constexpr size_t kMaxFileBytes = size_t{64} << 20;

std::string_view WordNumber(std::string_view rest) {
  if (rest[0] != '-' && rest[0] != 'I' && rest[0] != 'N') return {};
  for (std::string_view word : {"-Infinity", "Infinity", "NaN"}) {
    if (rest.starts_with(word)) return word;
  }
  return {};
}

// Walks the text outside its strings, before the parser does: so no hostile nesting is ever built
// in memory. Python writes the numbers JSON does not have as words; they become null.
absl::StatusOr<std::string> Prepare(std::string_view text, const std::string& file) {
  std::string prepared;
  prepared.reserve(text.size());
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (!in_string) {
      if (const std::string_view word = WordNumber(text.substr(i)); !word.empty()) {
        prepared += "null";
        i += word.size() - 1;
        continue;
      }
      if ((c == '{' || c == '[') && ++depth > kMaxDepth) {
        return absl::DataLossError(
            absl::StrCat(file, ": nested deeper than ", kMaxDepth, " levels"));
      }
      if (c == '}' || c == ']') --depth;
    }
    if (c == '"') in_string = !in_string;
    prepared += c;
    if (in_string && c == '\\' && i + 1 < text.size()) prepared += text[++i];
  }
  return prepared;
}

}  // namespace

std::string Quoted(std::string_view text) {
  constexpr size_t kShown = 80;
  const std::string shown = absl::CHexEscape(std::string(text.substr(0, kShown)));
  return absl::StrCat("\"", shown, text.size() > kShown ? "..." : "", "\"");
}

std::string JsonReason(std::string_view what) {
  constexpr size_t kShown = 240;
  // "[json.exception.parse_error.101] parse error at ...": the library's own number tells a reader
  // nothing.
  if (const size_t bracket = what.find("] "); what.starts_with('[') && bracket != what.npos) {
    what.remove_prefix(bracket + 2);
  }
  std::string shown;
  for (char c : what.substr(0, kShown)) {
    if (c >= ' ' && c < 127) {
      shown += c;
    } else {
      absl::StrAppend(&shown, "\\x", absl::Hex(static_cast<uint8_t>(c), absl::kZeroPad2));
    }
  }
  if (what.size() > kShown) shown += "...";
  return shown;
}

absl::StatusOr<json> ParseJsonObject(std::string_view text, const std::string& file) {
  TS_ASSIGN_OR_RETURN(const std::string prepared, Prepare(text, file));
  std::vector<std::set<std::string>> keys;
  std::string twice;
  const auto watch = [&](int, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key && twice.empty()) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!keys.back().insert(key).second) twice = Quoted(key);
    }
    return true;
  };
  json value;
  try {
    value = json::parse(prepared, watch);
  } catch (const json::exception& error) {
    return absl::DataLossError(absl::StrCat(file, ": not valid JSON: ", JsonReason(error.what())));
  }
  if (!twice.empty())
    return absl::DataLossError(absl::StrCat(file, ": the key ", twice, " stands twice"));
  if (!value.is_object()) return absl::DataLossError(file + ": not a JSON object");
  return value;
}

absl::StatusOr<json> ReadJsonObject(const std::string& path) {
  TS_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxFileBytes));
  return ParseJsonObject(text, path);
}

}  // namespace tiltshift::engine
