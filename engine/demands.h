// What a model asks of a request, from its files' configs and names alone: for whoever takes requests
// before anything is loaded.
#pragma once

#include <string>
#include <vector>

#include "engine/model_files.h"
#include "engine/renderer.h"

namespace tiltshift::engine {

// `loras` are files, of which to say whether they fit.
ModelDemands DemandsOf(const ModelFiles& files, const std::vector<std::string>& loras);

}  // namespace tiltshift::engine
