// Any bytes as a combination expression over five axes: an error, or a bijection at both ends.
#include <cstdint>
#include <cstdlib>

#include "plan/combination.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using tiltshift::plan::Combination;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto combination = Combination::Parse(
      text, {{"a", 3}, {"b", 3}, {"c", 9}, {"d", uint64_t{1} << 40}, {"e", uint64_t{1} << 30}});
  if (!combination.ok()) return 0;
  for (const uint64_t index : {uint64_t{0}, combination->count() - 1}) {
    if (*combination->IndexOf(combination->PositionsAt(index)) != index) std::abort();
  }
  return 0;
}
