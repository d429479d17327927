// The values of one axis: a list, a range that is never expanded, or the ids of a contest's
// entries, which stand in the blob store.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "plan/range.h"
#include "proto/job.pb.h"

namespace tiltshift::plan {

class AxisValues {
 public:
  // Checks name and values: InvalidArgument with the field's path (axes.NAME[i]).
  static absl::StatusOr<AxisValues> Create(const v1::Axis& axis);

  // The axis "id" of a contest of `count` entries, at least one. It knows what an id may be, and
  // none of them.
  static AxisValues OfEntries(uint64_t count);

  const std::string& name() const { return name_; }
  bool is_entries() const { return entries_ != 0; }
  uint64_t count() const;
  // Not of entries, checked.
  std::string At(uint64_t position) const;
  absl::StatusOr<uint64_t> IndexOf(const std::string& value) const;

  // The positions that tell of all values: a range's smallest and largest, each of a list, none of
  // entries.
  std::vector<uint64_t> Telling() const;

  // Every value is a whole number >= 0 (what a seed needs), and none is there twice, however it is
  // written ("1", "01"): it would be the same picture again. Else the path and the value.
  absl::Status AllSeeds() const;
  // Some value holds one of `characters`.
  bool AnyContains(std::string_view characters) const;
  // Fit to stand in a file name: no '/', '\\', control character; else the path and the value.
  absl::Status FileNameSafe() const;
  size_t longest() const;
  bool AnyStartsWithDotOrIsEmpty() const;

 private:
  std::string name_;
  uint64_t entries_ = 0;
  bool is_range_ = false;
  IntRange range_;
  std::vector<std::string> list_;
  std::unordered_map<std::string, uint64_t> position_;
};

// What an axis or a column may be called: letters, digits and '_', no digit first, not "index".
// InvalidArgument that begins with `path`.
absl::Status CheckFieldName(const std::string& path, const std::string& name);

// A seed's text as a number; nullopt-like error if it is none. At most 2^64 - 1.
absl::StatusOr<uint64_t> ParseSeed(const std::string& text);

}  // namespace tiltshift::plan
