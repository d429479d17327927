#include "plan/output_names.h"

#include <algorithm>

#include "plan/limits.h"

namespace tiltshift::plan {
namespace {

constexpr size_t kLongestNumber = 20;  // digits of 2^64

const AxisValues* Find(const std::vector<AxisValues>& axes, const std::string& name) {
  for (const AxisValues& axis : axes) {
    if (axis.name() == name) return &axis;
  }
  return nullptr;
}

absl::Status Bad(const std::string& what) {
  return absl::InvalidArgumentError("output.name: " + what);
}

absl::Status CheckSafe(const Template& name, const std::vector<AxisValues>& axes) {
  if (name.parts().empty()) return Bad("is empty");
  for (const auto& part : name.parts()) {
    if (!part.is_field) {
      for (const unsigned char c : part.text) {
        if (c < 0x20 || c == 0x7f || c == '/' || c == '\\')
          return Bad("holds '/', '\\' or a control character");
      }
      continue;
    }
    const AxisValues* axis = Find(axes, part.text);
    if (axis != nullptr) TS_RETURN_IF_ERROR(axis->FileNameSafe());
  }
  const size_t longest = LongestExpansion(name, axes);
  if (longest > kLongestOutputName) {
    return Bad(absl::StrCat("could be ", longest, " bytes long; the limit is ", kLongestOutputName,
                            ", so use fewer axes or {index}"));
  }
  const auto& first = name.parts().front();
  const AxisValues* axis = first.is_field ? Find(axes, first.text) : nullptr;
  if ((!first.is_field && first.text[0] == '.') ||
      (axis != nullptr && axis->AnyStartsWithDotOrIsEmpty())) {
    return Bad("would make a hidden or empty file name; start with a letter");
  }
  return absl::OkStatus();
}

bool TakesApart(const Template& name, const std::vector<AxisValues>& axes,
                const Combination& combination) {
  std::vector<std::string> mentioned;
  const auto& parts = name.parts();
  for (size_t i = 0; i < parts.size(); ++i) {
    if (!parts[i].is_field) continue;
    mentioned.push_back(parts[i].text);
    if (i + 1 == parts.size()) break;
    if (parts[i + 1].is_field) return false;
    const std::string_view next = std::string_view(parts[i + 1].text).substr(0, 1);
    const AxisValues* axis = Find(axes, parts[i].text);
    if (axis != nullptr ? axis->AnyContains(next) : next.find_first_of("0123456789") != next.npos)
      return false;
  }
  auto has = [&](const std::string& field) {
    return std::find(mentioned.begin(), mentioned.end(), field) != mentioned.end();
  };
  if (has("index")) return true;
  std::vector<bool> known;
  for (const AxisValues& axis : axes) known.push_back(has(axis.name()));
  return combination.IsToldBy(known);
}

}  // namespace

size_t LongestExpansion(const Template& text, const std::vector<AxisValues>& axes,
                        const std::map<std::string, size_t>& columns) {
  size_t longest = 0;
  for (const auto& part : text.parts()) {
    const AxisValues* axis = part.is_field ? Find(axes, part.text) : nullptr;
    const auto column = columns.find(part.text);
    longest += !part.is_field            ? part.text.size()
               : axis != nullptr         ? axis->longest()
               : column != columns.end() ? column->second
                                         : kLongestNumber;
  }
  return longest;
}

std::vector<std::string> KnownFields(const std::vector<AxisValues>& axes) {
  std::vector<std::string> known;
  for (const AxisValues& axis : axes) known.push_back(axis.name());
  if (Find(axes, "seed") == nullptr) known.push_back("seed");
  known.push_back("index");
  return known;
}

absl::StatusOr<std::string> UniqueNameTemplate(const std::string& name,
                                               const std::vector<AxisValues>& axes,
                                               const Combination& combination) {
  TS_ASSIGN_OR_RETURN(const Template parsed,
                      Template::Parse(name, KnownFields(axes), "output.name"));
  TS_RETURN_IF_ERROR(CheckSafe(parsed, axes));
  return TakesApart(parsed, axes, combination) ? name : name + "-{index}";
}

}  // namespace tiltshift::plan
