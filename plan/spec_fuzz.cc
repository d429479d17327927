// Any bytes as a spec: an error or a plan whose first and last variant can be told, never a crash.
#include <cstdint>
#include <cstdlib>

#include "plan/plan.h"
#include "plan/spec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto file = tiltshift::plan::ParseSpec(text, "fuzz", "/nonexistent");
  if (!file.ok()) return 0;
  const auto plan = tiltshift::plan::Plan::Create(file->spec);
  if (!plan.ok()) return 0;
  for (const uint64_t index : {uint64_t{0}, plan->count() - 1}) {
    if (*plan->IndexOf(plan->At(index).parameters) != index) std::abort();
  }
  return 0;
}
