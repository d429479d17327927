// What a model asks of a request, from its files' configs and names alone: for whoever takes
// requests before anything is loaded.
#pragma once

#include "engine/model_files.h"
#include "engine/renderer.h"

namespace tiltshift::engine {

// `beside`: of what to say whether it fits.
ModelDemands DemandsOf(const ModelFiles& files, const Beside& beside);

}  // namespace tiltshift::engine
