// --models, or TILTSHIFT_MODELS: the folder that `render` and `models` look for models in.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace tiltshift::cli {

// Its default is the folder that came with this program, where there is one.
void AddModelsOption(CLI::App& command, std::string& models);

}  // namespace tiltshift::cli
