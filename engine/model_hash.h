// The hash that names a model, over all that decides what it renders.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace tiltshift::engine {

// 64 hex characters: SHA-256 over "NAME\nBYTES\n" of each file, followed by the hex SHA-256 of each
// of its pieces of kHashPieceBytes (the last may be shorter), each with "\n". In pieces, so that
// all cores take part, and each core with sixteen of them side by side.
inline constexpr size_t kHashPieceBytes = size_t{16} << 20;

struct HashedFile {
  std::string name;
  std::string_view bytes;
  bool mapped = false;  // its pages leave this process' memory when they were read
};
// `look` is shown the bytes of the mapped files, part after part, just when the processor's caches hold them; on several
// threads at once.
std::string HashModel(const std::vector<HashedFile>& files,
                      const std::function<void(std::string_view)>& look = nullptr);

}  // namespace tiltshift::engine
