#include "kernels/emulation/findings.h"

#include <cstring>

namespace tiltshift::emulation {

const char* NameOf(FindingKind kind) {
  switch (kind) {
    case FindingKind::kRace:
      return "race";
    case FindingKind::kOutOfBounds:
      return "out of bounds";
    case FindingKind::kMisaligned:
      return "misaligned";
    case FindingKind::kUninitialised:
      return "uninitialised";
    case FindingKind::kPendingCopy:
      return "copy not waited for";
    case FindingKind::kDivergentBarrier:
      return "divergent barrier";
    case FindingKind::kDivergentWarp:
      return "divergent warp operation";
  }
  return "unknown";
}

void Findings::Add(FindingKind kind, const std::string& kernel, const std::source_location& place,
                   const std::string& what) {
  const char* slash = std::strrchr(place.file_name(), '/');
  const std::string where = std::string(slash == nullptr ? place.file_name() : slash + 1) + ":" +
                            std::to_string(place.line());
  const std::lock_guard lock(mutex_);
  for (const Finding& known : findings_) {
    if (known.kind == kind && known.place == where && known.kernel == kernel) return;
  }
  findings_.push_back({kind, kernel, where, what});
}

std::vector<Finding> Findings::Take() {
  const std::lock_guard lock(mutex_);
  std::vector<Finding> taken;
  taken.swap(findings_);
  return taken;
}

bool Findings::empty() const {
  const std::lock_guard lock(mutex_);
  return findings_.empty();
}

std::string Describe(const std::vector<Finding>& findings) {
  std::string text;
  for (const Finding& finding : findings) {
    text += std::string(NameOf(finding.kind)) + " at " + finding.place + ", " + finding.what +
            ", in " + finding.kernel + "\n";
  }
  return text;
}

}  // namespace tiltshift::emulation
