// Lists in which what was used last stands first, for caches of a few expensive things.
#pragma once

#include <algorithm>
#include <list>

namespace tiltshift::engine {

// The element for which `found` holds, now the list's first; null if there is none.
template <class List, class Found>
auto* MoveToFront(List& list, const Found& found) {
  const auto it = std::find_if(list.begin(), list.end(), found);
  if (it == list.end()) return static_cast<typename List::value_type*>(nullptr);
  list.splice(list.begin(), list, it);
  return &list.front();
}

}  // namespace tiltshift::engine
