// What lies in a model folder, checked: for `tiltshift models`, which does not link the engine.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "engine/pack/weight_cache.h"
#include "proto/models.pb.h"

namespace tiltshift::worker {

// Every model of the folder and every LoRA, or the models named, each with its figures or with what
// is wrong; `cache`, which may be null, tells which have packed weights. NotFound: the folder, or
// one of the names.
absl::StatusOr<v1::ModelFolder> DescribeModels(const std::string& folder,
                                               const std::vector<std::string>& names,
                                               const std::shared_ptr<engine::WeightCache>& cache);

// One line of JSON with the proto's field names; zeros included.
std::string DescriptionJson(const v1::ModelFolder& folder);

}  // namespace tiltshift::worker
