#include "base/cpus.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/check.h"

namespace tiltshift {

absl::StatusOr<Cpus> Cpus::Parse(std::string_view list) {
  Cpus cpus;
  if (list.empty()) return cpus;
  cpus.any_ = false;
  cpu_set_t ours;
  TS_CHECK(sched_getaffinity(0, sizeof(ours), &ours) == 0);
  const absl::string_view text(list.data(), list.size());
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    const std::pair<absl::string_view, absl::string_view> ends =
        absl::StrSplit(part, absl::MaxSplits('-', 1));
    uint32_t first = 0, last = 0;
    const bool range = part.find('-') != absl::string_view::npos;
    if (!absl::SimpleAtoi(ends.first, &first) ||
        !absl::SimpleAtoi(range ? ends.second : ends.first, &last) || first > last ||
        last >= CPU_SETSIZE)
      return absl::InvalidArgumentError(
          absl::StrCat("'", text, "' is no list of processors; write it like 0 or 2-3,6"));
    for (uint32_t cpu = first; cpu <= last; ++cpu) {
      if (!CPU_ISSET(cpu, &ours))
        return absl::InvalidArgumentError(
            absl::StrCat("this process may not run on processor ", cpu, " of '", text,
                         "'; /proc/self/status shows which it may (Cpus_allowed_list)"));
      CPU_SET(cpu, &cpus.set_);
    }
  }
  return cpus;
}

void Cpus::Keep() const {
  // A processor that was taken away since: any will do.
  if (!any_) sched_setaffinity(0, sizeof(set_), &set_);
}

}  // namespace tiltshift
