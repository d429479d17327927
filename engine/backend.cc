#include "engine/backend.h"

namespace tiltshift::engine {

absl::StatusOr<DeviceInfo> ChooseDevice(Device wanted) {
  const DeviceInfo cpu = {.device = Device::kCpu, .name = "cpu"};
  if (wanted == Device::kCpu) return cpu;
  const absl::StatusOr<DeviceInfo> card = FindCudaCard();
  if (wanted == Device::kCuda) return card;
  return card.ok() && card->name != "emulated" ? *card : cpu;
}

absl::StatusOr<std::unique_ptr<Backend>> MakeBackend(Device device, Products products) {
  TS_ASSIGN_OR_RETURN(const DeviceInfo chosen, ChooseDevice(device));
  if (chosen.device == Device::kCuda) return MakeCudaBackend();
  return MakeCpuBackend(products);
}

}  // namespace tiltshift::engine
