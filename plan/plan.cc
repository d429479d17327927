#include "plan/plan.h"

#include <optional>
#include <set>

#include "base/check.h"
#include "plan/axis.h"
#include "plan/combination.h"
#include "plan/defaults.h"
#include "plan/limits.h"
#include "plan/output_names.h"
#include "plan/prompt_check.h"
#include "plan/template.h"

namespace tiltshift::plan {

struct Plan::Impl {
  v1::JobSpec spec;
  std::vector<AxisValues> axes;  // of a contest: the entries first
  std::optional<Combination> combination;
  Template prompt, negative_prompt, output_name;
};

namespace {

absl::StatusOr<std::vector<AxisValues>> CreateAxes(const v1::JobSpec& spec) {
  std::vector<AxisValues> axes;
  if (spec.has_contest()) axes.push_back(AxisValues::OfEntries(EntryCount(spec)));
  std::set<std::string> names;
  for (const v1::Axis& axis : spec.axes()) {
    TS_ASSIGN_OR_RETURN(AxisValues values, AxisValues::Create(axis));
    if (!names.insert(axis.name()).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("axes.", axis.name(), ": there are two axes of this name"));
    }
    if (axis.name() == "seed") TS_RETURN_IF_ERROR(values.AllSeeds());
    axes.push_back(std::move(values));
  }
  return axes;
}

// What a contest's templates know beside its axes; "id" is one of them.
std::map<std::string, size_t> ColumnsOf(const v1::JobSpec& spec) {
  std::map<std::string, size_t> longest;
  for (const v1::EntryColumn& column : spec.contest().columns())
    longest[column.name()] = column.longest();
  longest.erase("id");
  return longest;
}

absl::StatusOr<Template> ParsePrompt(const std::string& text, const v1::JobSpec& spec,
                                     const std::vector<AxisValues>& axes, const std::string& path) {
  const auto columns = ColumnsOf(spec);
  std::vector<std::string> known = KnownFields(axes);
  for (const auto& [name, bytes] : columns) {
    if (name != "seed") known.push_back(name);
  }
  TS_ASSIGN_OR_RETURN(Template parsed, Template::Parse(text, known, path));
  const size_t longest = LongestExpansion(parsed, axes, columns);
  if (longest > kLongestPrompt) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": could become ", longest,
                     " bytes long with the longest values; the limit is ", kLongestPrompt));
  }
  TS_RETURN_IF_ERROR(CheckPromptWeights(parsed, axes, path));
  return parsed;
}

}  // namespace

Plan::Plan(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Plan::Plan(Plan&&) noexcept = default;
Plan& Plan::operator=(Plan&&) noexcept = default;
Plan::~Plan() = default;

absl::StatusOr<Plan> Plan::Create(const v1::JobSpec& spec) {
  auto impl = std::make_unique<Impl>();
  impl->spec = spec;
  TS_RETURN_IF_ERROR(FillAndCheck(impl->spec));
  TS_ASSIGN_OR_RETURN(impl->axes, CreateAxes(impl->spec));

  std::vector<AxisSize> sizes;
  for (const AxisValues& axis : impl->axes) sizes.push_back({axis.name(), axis.count()});
  const bool entries_and_more = impl->spec.has_contest() && !impl->spec.combine().empty();
  TS_ASSIGN_OR_RETURN(
      impl->combination,
      Combination::Parse((entries_and_more ? "id * " : "") + impl->spec.combine(), sizes));

  const auto known = KnownFields(impl->axes);
  TS_ASSIGN_OR_RETURN(impl->prompt,
                      ParsePrompt(impl->spec.prompt(), impl->spec, impl->axes, "prompt"));
  TS_ASSIGN_OR_RETURN(impl->negative_prompt, ParsePrompt(impl->spec.negative_prompt(), impl->spec,
                                                         impl->axes, "negative_prompt"));
  TS_ASSIGN_OR_RETURN(const std::string name, UniqueNameTemplate(impl->spec.output().name(),
                                                                 impl->axes, *impl->combination));
  TS_ASSIGN_OR_RETURN(impl->output_name, Template::Parse(name, known, "output.name"));
  return Plan(std::move(impl));
}

uint64_t Plan::count() const { return impl_->combination->count(); }

const v1::JobSpec& Plan::spec() const { return impl_->spec; }

uint64_t Plan::variants_each() const {
  TS_CHECK(impl_->spec.has_contest());
  return count() / impl_->axes.front().count();
}

Variant Plan::At(uint64_t index, const EntryRow& row) const {
  TS_CHECK(row.contains("id") == impl_->spec.has_contest());
  const auto positions = impl_->combination->PositionsAt(index);
  Variant variant;
  variant.index = index;
  variant.seed = impl_->spec.render().seed();
  variant.parameters = row;
  for (size_t i = 0; i < impl_->axes.size(); ++i) {
    const AxisValues& axis = impl_->axes[i];
    if (!axis.is_entries()) variant.parameters[axis.name()] = axis.At(positions[i]);
  }
  if (const auto seed = variant.parameters.find("seed"); seed != variant.parameters.end())
    variant.seed = *ParseSeed(seed->second);
  auto value = [&](const std::string& field) {
    if (field == "index") return std::to_string(index);
    const auto found = variant.parameters.find(field);
    return found != variant.parameters.end() ? found->second : std::to_string(variant.seed);
  };
  variant.prompt = impl_->prompt.Expand(value);
  if (impl_->spec.has_negative_prompt())
    variant.negative_prompt = impl_->negative_prompt.Expand(value);
  variant.output_name = impl_->output_name.Expand(value) + ".png";
  return variant;
}

absl::StatusOr<uint64_t> Plan::IndexOf(const std::map<std::string, std::string>& parameters) const {
  TS_CHECK(!impl_->spec.has_contest());
  std::vector<uint64_t> positions;
  for (const AxisValues& axis : impl_->axes) {
    const auto found = parameters.find(axis.name());
    if (found == parameters.end()) {
      return absl::InvalidArgumentError(absl::StrCat("no value given for axis ", axis.name()));
    }
    TS_ASSIGN_OR_RETURN(const uint64_t position, axis.IndexOf(found->second));
    positions.push_back(position);
  }
  if (parameters.size() != positions.size())
    return absl::InvalidArgumentError("a value was given for an axis the job has not");
  return impl_->combination->IndexOf(positions);
}

absl::StatusOr<Selection> Plan::Select(
    const std::map<std::string, std::vector<std::string>>& choices) const {
  std::vector<std::optional<std::vector<uint64_t>>> chosen(impl_->axes.size());
  size_t known = 0;
  for (size_t i = 0; i < impl_->axes.size(); ++i) {
    const AxisValues& axis = impl_->axes[i];
    const auto found = choices.find(axis.name());
    if (found == choices.end() || axis.is_entries()) continue;
    ++known;
    chosen[i].emplace();
    for (const std::string& value : found->second) {
      const auto position = axis.IndexOf(value);
      if (!position.ok()) return absl::InvalidArgumentError(position.status().message());
      chosen[i]->push_back(*position);
    }
  }
  if (known != choices.size())
    return absl::InvalidArgumentError("choices: one is of an axis that the job has not");
  return Selection::Create(*impl_->combination, chosen);
}

}  // namespace tiltshift::plan
