// Texts that must not be longer than somebody takes.
#pragma once

#include <string>

namespace tiltshift {

// `text`, or its beginning and "...": at most `most` bytes, no character cut in two.
std::string Shortened(const std::string& text, size_t most);

}  // namespace tiltshift
