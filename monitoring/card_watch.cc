#include "monitoring/card_watch.h"

#include <algorithm>
#include <chrono>
#include <string_view>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace tiltshift::monitoring {

namespace {

// "MIG-GPU-8f0c.../3/0" is how drivers before 470 call a part: by its card, and its place there.
bool Names(std::string_view name, const CardReading& card) {
  unsigned index = 0;
  if (absl::SimpleAtoi(std::string(name), &index)) return index == card.index;
  constexpr std::string_view kPart = "MIG-";
  if (!name.starts_with(kPart)) return card.uuid.starts_with(name);
  const std::string_view by_card = name.substr(kPart.size(), name.find('/') - kPart.size());
  return (by_card.starts_with("GPU-") && card.uuid.starts_with(by_card)) ||
         std::any_of(card.parts.begin(), card.parts.end(),
                     [&](const std::string& part) { return part.starts_with(name); });
}

}  // namespace

bool IsVisible(const CardReading& card, const char* visible_devices) {
  if (visible_devices == nullptr) return true;
  const std::vector<std::string> named = absl::StrSplit(visible_devices, ',', absl::SkipEmpty());
  const auto end = std::find_if(named.begin(), named.end(),
                                [](const std::string& name) { return name.starts_with("-"); });
  return std::any_of(named.begin(), end,
                     [&](const std::string& name) { return Names(name, card); });
}

CardWatch::CardWatch(Registry& registry, CardWatchOptions options)
    : registry_(registry), options_(std::move(options)), thread_([this] { Run(); }) {}

CardWatch::~CardWatch() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

std::optional<CardReading> CardWatch::Latest() const {
  std::lock_guard lock(mutex_);
  return latest_;
}

void CardWatch::Run() {
  const auto nvml = Nvml::Load(options_.library);
  if (!nvml.ok()) return options_.log(absl::StrCat("no card is watched: ", Message(nvml.status())));
  const char* visible =
      options_.visible_devices.has_value() ? options_.visible_devices->c_str() : nullptr;
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    lock.unlock();
    std::optional<CardReading> first;
    for (const CardReading& reading : (*nvml)->Read()) {
      if (!IsVisible(reading, visible)) continue;
      Export(reading);
      if (!first.has_value()) first = reading;
    }
    lock.lock();
    latest_ = std::move(first);
    wake_.wait_for(lock, std::chrono::milliseconds(options_.every_ms), [&] { return stopping_; });
  }
}

void CardWatch::Export(const CardReading& reading) {
  Registry& r = registry_;
  const Labels gpu = {{"gpu", absl::StrCat(reading.index)}};
  const auto [found, is_new] = series_.try_emplace(reading.index);
  Series& series = found->second;
  if (is_new) {
    series.last_xid = r.AddGauge("tiltshift_gpu_last_xid", "The driver's last error; 0: none", gpu);
    series.xids =
        r.AddCounter("tiltshift_gpu_xid_errors_total", "Errors that the driver told", gpu);
  }
  const auto set = [&](std::optional<Gauge>& gauge, const char* name, const char* help,
                       const auto& value) {
    if (!value.has_value()) return;
    if (!gauge.has_value()) gauge = r.AddGauge(name, help, gpu);
    gauge->Set(static_cast<double>(*value));
  };
  set(series.utilization, "tiltshift_gpu_utilization_ratio", "Of the last moments, at work",
      reading.utilization);
  set(series.memory_used, "tiltshift_gpu_memory_used_bytes", "Of the card's memory",
      reading.memory_used_bytes);
  set(series.memory, "tiltshift_gpu_memory_bytes", "The card's memory", reading.memory_bytes);
  set(series.power, "tiltshift_gpu_power_watts", "What the card draws", reading.power_watts);
  set(series.temperature, "tiltshift_gpu_temperature_celsius", "Of the chip",
      reading.temperature_celsius);
  set(series.uncorrected, "tiltshift_gpu_uncorrected_errors",
      "Of the card's memory, since its driver was loaded", reading.uncorrected_errors);
  for (const uint64_t xid : reading.xids) {
    series.xids.Add();
    series.last_xid.Set(static_cast<double>(xid));
    options_.log(absl::StrCat("card ", reading.index, ": the driver tells of error XID ", xid));
  }
}

}  // namespace tiltshift::monitoring
