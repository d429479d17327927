// Watches the cards that this process may use, on a thread of its own: a card that hangs takes
// nobody else with it. Where there is no card nothing is exported.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "monitoring/nvml.h"
#include "monitoring/series.h"

namespace tiltshift::monitoring {

// Whether a process with this CUDA_VISIBLE_DEVICES (null: not set) uses the card, or one of its
// parts: numbers count in the order of the PCI bus, as they do for CUDA with
// CUDA_DEVICE_ORDER=PCI_BUS_ID; UUIDs of cards and parts may be cut short; -1 ends the list.
// NVIDIA_VISIBLE_DEVICES is none of its matters: NVML in a container shows the container's cards.
bool IsVisible(const CardReading& card, const char* visible_devices);

struct CardWatchOptions {
  std::string library = "libnvidia-ml.so.1";
  int every_ms = 1'000;
  std::optional<std::string> visible_devices;  // CUDA_VISIBLE_DEVICES
  // Told once, on the watch's thread: that no card is watched, and why; or an XID.
  std::function<void(const std::string&)> log = [](const std::string&) {};
};

class CardWatch {
 public:
  CardWatch(Registry& registry, CardWatchOptions options);
  ~CardWatch();

  // Of the first card in use; nothing until it was read, or where there is none. Any thread.
  std::optional<CardReading> Latest() const;

 private:
  struct Series {  // made when there is a first value
    std::optional<Gauge> utilization, memory_used, memory, power, temperature, uncorrected;
    Gauge last_xid;
    Counter xids;
  };
  void Run();
  void Export(const CardReading& reading);

  Registry& registry_;
  const CardWatchOptions options_;
  std::map<unsigned, Series> series_;  // by index; of the thread
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::optional<CardReading> latest_;
  std::thread thread_;
};

}  // namespace tiltshift::monitoring
