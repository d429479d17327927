// The LoRAs of tests/goldens/lora for the tiny model: lists of tensors, whose numbers follow from
// their names as the model's do.
#pragma once

#include <string>

#include "base/status.h"

namespace tiltshift::engine {

// Writes tests/goldens/lora/`name`.txt as a file.
absl::Status WriteTinyLora(const std::string& source_dir, const std::string& name,
                           const std::string& path);

}  // namespace tiltshift::engine
