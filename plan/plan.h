// The plan of a job: a bijection between variant numbers 0..N-1 and parameters, never expanded.
// Built from a JobSpec in time and memory that depend on the axes, not on N. A contest's entries
// are an axis too, called id and the slowest of all; their rows are elsewhere, and whoever wants a
// variant brings its entry's.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "plan/entries.h"
#include "plan/selection.h"
#include "proto/job.pb.h"

namespace tiltshift::plan {

// What one variant is: everything a worker needs to render it.
struct Variant {
  uint64_t index = 0;
  std::map<std::string, std::string> parameters;  // axis or column -> value
  std::string prompt;
  std::optional<std::string> negative_prompt;  // none where the spec has none
  std::string output_name;  // with extension, "robot-red-1.png"; a relative path without ".."
  uint64_t seed = 0;
};

class Plan {
 public:
  // Checks the whole spec (templates, ranges, combination, bounds) and fails with the field's path,
  // what is wrong and what is known: InvalidArgument. `spec` is kept by value.
  static absl::StatusOr<Plan> Create(const v1::JobSpec& spec);

  Plan(Plan&&) noexcept;
  Plan& operator=(Plan&&) noexcept;
  ~Plan();

  // Number of variants, 1 .. 2^62.
  uint64_t count() const;

  // index < count(), checked. `row`: of EntryOf(index), in a contest; checked as well.
  Variant At(uint64_t index, const EntryRow& row = {}) const;

  // Of a contest, checked: the entry that a variant belongs to, counted from 0, and how many
  // variants each has.
  uint64_t EntryOf(uint64_t index) const { return index / variants_each(); }
  uint64_t variants_each() const;

  // The inverse of At over parameters. NotFound where no variant has them. Not of a contest,
  // checked.
  absl::StatusOr<uint64_t> IndexOf(const std::map<std::string, std::string>& parameters) const;

  // The variants that have one of the values of each axis that is named; none named: all. The plan
  // must outlive it. InvalidArgument: no such axis or value, or the axis "id" of a contest.
  absl::StatusOr<Selection> Select(
      const std::map<std::string, std::vector<std::string>>& choices) const;

  const v1::JobSpec& spec() const;

 private:
  struct Impl;
  explicit Plan(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tiltshift::plan
