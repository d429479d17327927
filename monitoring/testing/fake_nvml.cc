// A libnvidia-ml.so.1 that answers as NVIDIA's does, for tests on machines without a card: two
// cards, of which the second tells nothing but its memory, and has a part that MIG made. FAKE_NVML
// says how it fails: "init", "none" (no card); "hot": its first card is, and has lost more of its
// memory. The first card has an XID 79 to tell of, once.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "monitoring/nvml_api.h"

namespace nvml = tiltshift::monitoring::nvml;

namespace {

constexpr nvml::Return kUninitialized = 1, kInvalidArgument = 2, kNotSupported = 3, kTimeout = 10;
constexpr nvml::Return kNotFound = 6, kDriverNotLoaded = 9;

char cards[2], part;
int begun = 0;
bool told = false;
unsigned long long registered = 0;
char event_set;

bool Is(const char* what) {
  const char* how = std::getenv("FAKE_NVML");
  return how != nullptr && std::strcmp(how, what) == 0;
}
nvml::Device Card(int index) { return reinterpret_cast<nvml::Device>(&cards[index]); }

}  // namespace

extern "C" {

nvml::Return nvmlInit_v2() {
  if (Is("init")) return kDriverNotLoaded;
  ++begun;
  return 0;
}
nvml::Return nvmlShutdown() { return begun-- > 0 ? 0 : kUninitialized; }
const char* nvmlErrorString(nvml::Return error) {
  return error == kDriverNotLoaded ? "Driver Not Loaded" : "Unknown Error";
}
nvml::Return nvmlDeviceGetCount_v2(unsigned* count) {
  if (begun == 0) return kUninitialized;
  *count = Is("none") ? 0 : 2;
  return 0;
}
nvml::Return nvmlDeviceGetHandleByIndex_v2(unsigned index, nvml::Device* device) {
  if (begun == 0) return kUninitialized;
  if (index > 1) return kInvalidArgument;
  *device = Card(static_cast<int>(index));
  return 0;
}
nvml::Return nvmlDeviceGetMaxMigDeviceCount(nvml::Device device, unsigned* count) {
  *count = device == Card(1) ? 7 : 0;
  return 0;
}
nvml::Return nvmlDeviceGetMigDeviceHandleByIndex(nvml::Device device, unsigned index,
                                                 nvml::Device* out) {
  if (device != Card(1) || index != 2) return kNotFound;
  *out = reinterpret_cast<nvml::Device>(&part);
  return 0;
}
nvml::Return nvmlDeviceGetUUID(nvml::Device device, char* uuid, unsigned length) {
  if (device == reinterpret_cast<nvml::Device>(&part)) {
    std::snprintf(uuid, length, "MIG-4444cccc-55");
    return 0;
  }
  std::snprintf(uuid, length, "GPU-%s", device == Card(0) ? "0000aaaa-11" : "2222bbbb-33");
  return 0;
}
nvml::Return nvmlDeviceGetUtilizationRates(nvml::Device device, nvml::Utilization* rates) {
  if (device != Card(0)) return kNotSupported;
  *rates = {97, 40};
  return 0;
}
nvml::Return nvmlDeviceGetMemoryInfo(nvml::Device device, nvml::Memory* memory) {
  *memory = {80'000'000'000, 50'000'000'000, 30'000'000'000};
  return 0;
}
nvml::Return nvmlDeviceGetPowerUsage(nvml::Device device, unsigned* milliwatts) {
  if (device != Card(0)) return kNotSupported;
  *milliwatts = 412'500;
  return 0;
}
nvml::Return nvmlDeviceGetTemperature(nvml::Device device, unsigned sensor, unsigned* celsius) {
  if (device != Card(0) || sensor != nvml::kTemperatureOfGpu) return kNotSupported;
  *celsius = Is("hot") ? 95 : 61;
  return 0;
}
nvml::Return nvmlDeviceGetTotalEccErrors(nvml::Device device, unsigned kind, unsigned counter,
                                         unsigned long long* count) {
  if (device != Card(0)) return kNotSupported;
  const bool ours = kind == nvml::kUncorrected && counter == nvml::kSinceDriverLoad;
  *count = !ours ? 1'000 : Is("hot") ? 5 : 2;
  return 0;
}
nvml::Return nvmlEventSetCreate(nvml::EventSet* set) {
  *set = reinterpret_cast<nvml::EventSet>(&event_set);
  return 0;
}
nvml::Return nvmlEventSetFree(nvml::EventSet) { return 0; }
nvml::Return nvmlDeviceRegisterEvents(nvml::Device device, unsigned long long types,
                                      nvml::EventSet) {
  if (device != Card(0)) return kNotSupported;
  registered = types;
  return 0;
}
nvml::Return nvmlEventSetWait_v2(nvml::EventSet, nvml::EventData* event, unsigned timeout_ms) {
  if (registered != nvml::kXidErrors || told) return kTimeout;
  told = true;
  *event = {Card(0), nvml::kXidErrors, 79, 0, 0};
  return 0;
}

}  // extern "C"
