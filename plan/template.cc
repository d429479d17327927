#include "plan/template.h"

#include <algorithm>

#include "absl/strings/str_join.h"

namespace tiltshift::plan {
namespace {

absl::Status At(const std::string& where, size_t column, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(where, ", column ", column + 1, ": ", what));
}

}  // namespace

absl::StatusOr<Template> Template::Parse(std::string_view text,
                                         const std::vector<std::string>& known,
                                         const std::string& where) {
  Template result;
  std::string literal;
  auto flush = [&] {
    if (!literal.empty()) result.parts_.push_back({false, std::move(literal)});
    literal.clear();
  };
  for (size_t i = 0; i < text.size();) {
    const char c = text[i];
    if ((c == '{' || c == '}') && i + 1 < text.size() && text[i + 1] == c) {
      literal.push_back(c);
      i += 2;
    } else if (c == '}') {
      return At(where, i, "'}' without '{'; write }} for the character itself");
    } else if (c != '{') {
      literal.push_back(c);
      ++i;
    } else {
      const size_t end = text.find('}', i);
      if (end == std::string_view::npos)
        return At(where, i, "'{' is never closed; write {{ for the character itself");
      const std::string name(text.substr(i + 1, end - i - 1));
      if (std::find(known.begin(), known.end(), name) == known.end()) {
        return At(where, i,
                  absl::StrCat("unknown name {", name, "}; known are: {",
                               absl::StrJoin(known, "}, {"), "}"));
      }
      flush();
      result.parts_.push_back({true, name});
      i = end + 1;
    }
  }
  flush();
  return result;
}

std::string Template::Expand(const std::function<std::string(const std::string&)>& value) const {
  std::string out;
  for (const Part& part : parts_) out += part.is_field ? value(part.text) : part.text;
  return out;
}

}  // namespace tiltshift::plan
