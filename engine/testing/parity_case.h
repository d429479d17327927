// The table of renders that are compared with diffusers, tests/goldens/parity/cases.json, and the
// models they need.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "nlohmann/json.hpp"

namespace tiltshift::engine {

struct ParityControl {
  std::string part;  // of parity/parts
  double scale = 1, start = 0, end = 1;
};

struct ParityCase {
  std::string name;
  std::string mode;                  // "text_to_image", "image_to_image", "inpaint" or "edit"
  std::vector<std::string> prompts;  // of one batch on the other side; here each alone
  std::optional<std::string> negative_prompt;
  int width = 0, height = 0;
  int steps = 0;
  double guidance_scale = 1;
  int clip_skip = 0;
  double strength = 1, image_guidance_scale = 1;
  std::vector<ParityControl> controls;
  uint64_t seed = 0;  // of the first prompt, counted up over the others

  nlohmann::json model, scheduler;  // what stands in the table of them
};

absl::StatusOr<std::vector<ParityCase>> ReadParityCases(const std::string& source_dir);

// Writes the case's model directory to `folder`: the configs of its parts, weights from their
// tensors' names, the tests' tokenizer. Where it has ControlNets, as diffusers saves its pipeline
// of them: with their folders, and the model_index.json that it wrote.
absl::Status WriteParityModel(const std::string& source_dir, const ParityCase& parity,
                              const std::string& folder);
// That of a model of the table, by name, with DDIM for its own sampler.
absl::Status WriteParityModel(const std::string& source_dir, const std::string& model,
                              const std::string& folder);

// Where WriteParityModel puts the ControlNet with that number.
std::string ParityControlFolder(const std::string& folder, size_t number);

// A ControlNet's directory.
absl::Status WriteParityControl(const std::string& source_dir, const std::string& part,
                                const std::string& folder);

}  // namespace tiltshift::engine
