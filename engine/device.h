// Where a model is rendered.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"

namespace tiltshift::engine {

// kAuto: a card where one is there (an emulated one is none), else the processor.
enum class Device : uint8_t { kAuto, kCpu, kCuda };

struct DeviceInfo {
  Device device = Device::kCpu;  // not kAuto
  std::string name;              // "cpu", "NVIDIA H100 80GB HBM3", "emulated"
  uint64_t memory_bytes = 0;     // of a card
};
// FailedPrecondition: a card is asked for and none is there, or none that serves.
absl::StatusOr<DeviceInfo> ChooseDevice(Device wanted);

}  // namespace tiltshift::engine
