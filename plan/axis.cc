#include "plan/axis.h"

#include <algorithm>
#include <cctype>
#include <numeric>

#include "absl/strings/numbers.h"
#include "base/check.h"
#include "plan/limits.h"
#include "plan/text.h"

namespace tiltshift::plan {
namespace {

absl::Status Bad(const std::string& path, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", what));
}

}  // namespace

absl::Status CheckFieldName(const std::string& path, const std::string& name) {
  if (name.empty() || name.size() > kLongestName)
    return Bad(path, absl::StrCat("a name has 1 to ", kLongestName, " characters"));
  const bool first = std::isalpha(static_cast<unsigned char>(name[0])) || name[0] == '_';
  const bool rest = std::all_of(name.begin(), name.end(),
                                [](unsigned char c) { return std::isalnum(c) || c == '_'; });
  if (!first || !rest) {
    return Bad(absl::StrCat(path, ".", name),
               "a name is made of letters, digits and '_', and starts with no digit");
  }
  if (name == "index")
    return Bad(path + ".index", "{index} is the variant's number; name it otherwise");
  return absl::OkStatus();
}

AxisValues AxisValues::OfEntries(uint64_t count) {
  AxisValues values;
  values.name_ = "id";
  values.entries_ = count;
  return values;
}

absl::StatusOr<AxisValues> AxisValues::Create(const v1::Axis& axis) {
  TS_RETURN_IF_ERROR(CheckFieldName("axes", axis.name()));
  const std::string path = absl::StrCat("axes.", axis.name());
  AxisValues values;
  values.name_ = axis.name();
  if (axis.values_case() == v1::Axis::kRange) {
    if (axis.range().size() > kLongestRange)
      return Bad(path, absl::StrCat("the range is longer than ", kLongestRange, " characters"));
    auto range = IntRange::Parse(axis.range());
    if (!range.ok()) return Annotate(range.status(), path);
    values.is_range_ = true;
    values.range_ = *std::move(range);
    return values;
  }
  const auto& list = axis.list().values();
  if (list.empty()) return Bad(path, "an axis needs at least one value");
  if (static_cast<size_t>(list.size()) > kMostListValues) {
    return Bad(
        path, absl::StrCat("more than ", kMostListValues, " values; use a range or split the job"));
  }
  values.list_.assign(list.begin(), list.end());
  for (size_t i = 0; i < values.list_.size(); ++i) {
    const std::string& value = values.list_[i];
    TS_RETURN_IF_ERROR(CheckText(absl::StrCat(path, "[", i, "]"), value, kLongestValue));
    const auto [at, fresh] = values.position_.emplace(value, i);
    if (!fresh)
      return Bad(absl::StrCat(path, "[", i, "]"),
                 absl::StrCat("\"", value, "\" is there already, at [", at->second, "]"));
  }
  return values;
}

uint64_t AxisValues::count() const {
  return is_entries() ? entries_ : is_range_ ? range_.count() : list_.size();
}

std::string AxisValues::At(uint64_t position) const {
  TS_CHECK(!is_entries());
  if (is_range_) return std::to_string(range_.At(position));
  TS_CHECK(position < list_.size());
  return list_[position];
}

absl::StatusOr<uint64_t> AxisValues::IndexOf(const std::string& value) const {
  const auto unknown =
      absl::NotFoundError(absl::StrCat("axis ", name_, " has no value \"", value, "\""));
  if (!is_range_) {
    const auto found = position_.find(value);
    if (found == position_.end()) return unknown;
    return found->second;
  }
  int64_t number;
  if (!absl::SimpleAtoi(value, &number) || std::to_string(number) != value) return unknown;
  const auto position = range_.IndexOf(number);
  return position.ok() ? position : unknown;
}

std::vector<uint64_t> AxisValues::Telling() const {
  if (is_entries()) return {};
  if (is_range_) return {*range_.IndexOf(range_.min()), *range_.IndexOf(range_.max())};
  std::vector<uint64_t> all(list_.size());
  std::iota(all.begin(), all.end(), uint64_t{0});
  return all;
}

absl::Status AxisValues::AllSeeds() const {
  const std::string path = absl::StrCat("axes.", name_);
  if (is_range_)
    return range_.min() < 0 ? Bad(path, "a seed is a whole number from 0 up") : absl::OkStatus();
  std::unordered_map<uint64_t, size_t> places;
  for (size_t i = 0; i < list_.size(); ++i) {
    const auto seed = ParseSeed(list_[i]);
    if (!seed.ok()) {
      return Bad(absl::StrCat(path, "[", i, "]"),
                 absl::StrCat("\"", list_[i], "\" is no seed; a seed is a whole number from 0 up"));
    }
    const auto [at, fresh] = places.emplace(*seed, i);
    if (!fresh) {
      return Bad(absl::StrCat(path, "[", i, "]"),
                 absl::StrCat("\"", list_[i], "\" is the same seed as \"", list_[at->second],
                              "\" at [", at->second, "]"));
    }
  }
  return absl::OkStatus();
}

bool AxisValues::AnyContains(std::string_view characters) const {
  if (is_entries()) return std::any_of(characters.begin(), characters.end(), IsNameCharacter);
  if (is_range_) {
    const std::string possible = range_.min() < 0 ? "-0123456789" : "0123456789";
    return characters.find_first_of(possible) != std::string_view::npos;
  }
  return std::any_of(list_.begin(), list_.end(), [&](const std::string& value) {
    return value.find_first_of(characters) != std::string::npos;
  });
}

absl::Status AxisValues::FileNameSafe() const {
  for (size_t i = 0; i < list_.size(); ++i) {
    for (const unsigned char c : list_[i]) {
      if (c >= 0x20 && c != 0x7f && c != '/' && c != '\\') continue;
      return Bad(absl::StrCat("axes.", name_, "[", i, "]"),
                 "holds '/', '\\' or a control character, so it can't stand in output.name");
    }
  }
  return absl::OkStatus();
}

size_t AxisValues::longest() const {
  if (is_entries()) return kLongestName;
  if (is_range_)
    return std::max(std::to_string(range_.min()).size(), std::to_string(range_.max()).size());
  size_t longest = 0;
  for (const auto& value : list_) longest = std::max(longest, value.size());
  return longest;
}

bool AxisValues::AnyStartsWithDotOrIsEmpty() const {
  return std::any_of(list_.begin(), list_.end(),
                     [](const std::string& v) { return v.empty() || v[0] == '.'; });
}

absl::StatusOr<uint64_t> ParseSeed(const std::string& text) {
  uint64_t seed;
  const bool digits = !text.empty() && std::all_of(text.begin(), text.end(),
                                                   [](unsigned char c) { return std::isdigit(c); });
  if (!digits || !absl::SimpleAtoi(text, &seed))
    return absl::InvalidArgumentError("not a whole number from 0 up");
  return seed;
}

}  // namespace tiltshift::plan
