// The hash that names a model, over all that decides what it renders.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace tiltshift::engine {

// 64 hex characters: SHA-256 over "NAME\nBYTES\nHASH\n" of each file, where HASH is the 64 hex
// characters of its BLAKE3, which all cores compute in the order of the bytes.
struct HashedFile {
  std::string name;
  std::string_view bytes;
  bool mapped = false;  // its pages leave this process' memory when they were read
};
// `look` is shown the bytes of the mapped files, part after part, just when the processor's caches
// hold them; on several threads at once.
std::string HashModel(const std::vector<HashedFile>& files,
                      const std::function<void(std::string_view)>& look = nullptr);

}  // namespace tiltshift::engine
