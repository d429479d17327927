// What NVIDIA's cards of this machine say of themselves, through NVML, which is loaded when it is
// asked for: a machine without a driver has none, and that is no error of ours.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace tiltshift::monitoring {

// What a card does not tell is not set.
struct CardReading {
  unsigned index = 0;                 // NVML's: in the order of the PCI bus
  std::string uuid;                   // "GPU-8f0c..."
  std::vector<std::string> parts;     // that it is divided into, by MIG: "MIG-1d5f..."
  std::optional<double> utilization;  // 0 to 1
  std::optional<uint64_t> memory_used_bytes, memory_bytes;
  std::optional<double> power_watts, temperature_celsius;
  std::optional<uint64_t> uncorrected_errors;  // of its memory, since the driver was loaded
  std::vector<uint64_t> xids;                  // driver errors since the last reading
};

class Nvml {
 public:
  // NotFound: there is no such library, or no card. Unavailable: it refuses, with its words.
  static absl::StatusOr<std::unique_ptr<Nvml>> Load(
      const std::string& library = "libnvidia-ml.so.1");
  ~Nvml();

  // Of every card. A few milliseconds; not from two threads at once.
  std::vector<CardReading> Read();

 private:
  struct Api;
  explicit Nvml(std::unique_ptr<Api> api);
  void TakeXids(std::vector<CardReading>& readings);

  const std::unique_ptr<Api> api_;
};

}  // namespace tiltshift::monitoring
