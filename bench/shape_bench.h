// A checkpoint's shapes at the size it was made for: seconds a forward and a decode beside the processor's own
// limits, seconds to load beside seconds to read, and the memory all of it takes.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "engine/renderer.h"

namespace tiltshift::engine {

struct ShapeSettings {
  std::string folder;      // the model; made there where it is missing
  std::string source_dir;  // the repository
  Precision precision = Precision::kAuto;
  Device device = Device::kCpu;
  int threads = 2, size = 512, runs = 4;
  bool ops = false, each = false;
  std::vector<std::string> peers, peer_pythons;  // to run beside it, on the CPU
  bool cold = false;  // files are read, and then loaded, from the disk and not from memory
  std::string weight_cache;  // a folder; empty: weights are packed
  bool library = false;  // convolutions and matrices by oneDNN, attention by vectors: nothing on tiles in fp32
  bool limits = false;   // also oneDNN alone at the same operations: packs all weights again
};

absl::Status RunShapeBench(const ShapeSettings& settings);

}  // namespace tiltshift::engine
