// The few calls of NVIDIA's management library that are used here, declared by ourselves: the
// library comes with the driver, its header with a toolkit that need not be here.
// https://docs.nvidia.com/deploy/nvml-api/
#pragma once

namespace tiltshift::monitoring::nvml {

using Return = int;  // 0: success
using Device = struct DeviceHandle*;
using EventSet = struct EventSetHandle*;

struct Utilization {
  unsigned gpu;  // percent
  unsigned memory;
};
struct Memory {
  unsigned long long total, free, used;  // bytes
};
struct EventData {
  Device device;
  unsigned long long type;
  unsigned long long data;  // of an XID event: which
  unsigned gpu_instance, compute_instance;
};

constexpr unsigned kTemperatureOfGpu = 0;
constexpr unsigned kUncorrected = 1;              // memory errors
constexpr unsigned kSinceDriverLoad = 0;          // "volatile" counters
constexpr unsigned long long kXidErrors = 0x008;  // events

extern "C" {
using Init = Return();
using Shutdown = Return();
using ErrorString = const char*(Return);
using DeviceGetCount = Return(unsigned* count);
using DeviceGetHandleByIndex = Return(unsigned index, Device* device);
using DeviceGetUuid = Return(Device, char* uuid, unsigned length);
using DeviceGetMaxMigDeviceCount = Return(Device, unsigned* count);
using DeviceGetMigDeviceHandleByIndex = Return(Device, unsigned index, Device* part);
using DeviceGetUtilizationRates = Return(Device, Utilization*);
using DeviceGetMemoryInfo = Return(Device, Memory*);
using DeviceGetPowerUsage = Return(Device, unsigned* milliwatts);
using DeviceGetTemperature = Return(Device, unsigned sensor, unsigned* celsius);
using DeviceGetTotalEccErrors = Return(Device, unsigned kind, unsigned counter,
                                       unsigned long long* count);
using EventSetCreate = Return(EventSet*);
using EventSetFree = Return(EventSet);
using DeviceRegisterEvents = Return(Device, unsigned long long types, EventSet);
using EventSetWait = Return(EventSet, EventData*, unsigned timeout_ms);
}

}  // namespace tiltshift::monitoring::nvml
