#include "plan/prompt_check.h"

#include <set>

#include "base/prompt_weights.h"

namespace tiltshift::plan {
namespace {

constexpr size_t kMostText = size_t{32} << 20;
constexpr std::string_view kBrackets = "()[]";

// Fields that a bracket follows, and so may be weights: "(red:{w})".
std::set<std::string> BeforeABracket(const Template& prompt) {
  std::set<std::string> fields;
  const std::vector<Template::Part>& parts = prompt.parts();
  for (size_t i = 0; i + 1 < parts.size(); ++i) {
    const size_t next = parts[i + 1].text.find_first_not_of(' ');
    const bool bracket = next != std::string::npos && parts[i + 1].text[next] == ')';
    if (parts[i].is_field && !parts[i + 1].is_field && bracket) fields.insert(parts[i].text);
  }
  return fields;
}

bool Uses(const Template& prompt, const std::string& field) {
  for (const Template::Part& part : prompt.parts()) {
    if (part.is_field && part.text == field) return true;
  }
  return false;
}

class Checker {
 public:
  Checker(const Template& prompt, const std::vector<AxisValues>& axes, const std::string& path)
      : prompt_(prompt), axes_(axes), path_(path) {}

  // With `value` of `axis`; null: the first of each.
  absl::Status With(const AxisValues* axis, const std::string& value) {
    const std::string text = prompt_.Expand([&](const std::string& field) {
      if (axis != nullptr && field == axis->name()) return value;
      for (const AxisValues& other : axes_) {
        if (field == other.name() && !other.is_entries()) return other.At(0);
      }
      return std::string("0");  // seed, index, what an entry says
    });
    text_ += text.size();
    const absl::Status parsed = ParsePrompt(text).status();
    return parsed.ok() ? parsed : Annotate(parsed, path_);
  }
  bool tired() const { return text_ > kMostText; }

 private:
  const Template& prompt_;
  const std::vector<AxisValues>& axes_;
  const std::string& path_;
  size_t text_ = 0;
};

}  // namespace

absl::Status CheckPromptWeights(const Template& prompt, const std::vector<AxisValues>& axes,
                                const std::string& path) {
  Checker checker(prompt, axes, path);
  TS_RETURN_IF_ERROR(checker.With(nullptr, ""));
  const std::set<std::string> weighing = BeforeABracket(prompt);
  for (const AxisValues& axis : axes) {
    const bool weighs = weighing.contains(axis.name());
    if (!Uses(prompt, axis.name()) || !(weighs || axis.AnyContains(kBrackets))) continue;
    for (const uint64_t position : axis.Telling()) {
      const std::string value = axis.At(position);
      if (!weighs && value.find_first_of(kBrackets) == std::string::npos) continue;
      if (const absl::Status status = checker.With(&axis, value); !status.ok())
        return Annotate(status, absl::StrCat("axes.", axis.name(), "[", position, "]"));
      if (checker.tired()) return absl::OkStatus();
    }
  }
  return absl::OkStatus();
}

}  // namespace tiltshift::plan
