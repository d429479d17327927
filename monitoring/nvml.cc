#include "monitoring/nvml.h"

#include <dlfcn.h>

#include <utility>

#include "monitoring/nvml_api.h"

namespace tiltshift::monitoring {
namespace {

constexpr unsigned kUuidBytes = 96;
constexpr int kMostXidsAtOnce = 100;

}  // namespace

struct Nvml::Api {
  ~Api() {
    if (events != nullptr) event_set_free(events);
    if (began) shutdown();
    if (library != nullptr) dlclose(library);
  }
  template <typename Function>
  bool Find(const char* name, Function*& function) const {
    function = reinterpret_cast<Function*>(dlsym(library, name));
    return function != nullptr;
  }
  // False where one that nothing works without is missing.
  bool FindAll() {
    Find("nvmlDeviceGetMaxMigDeviceCount", most_parts);
    Find("nvmlDeviceGetMigDeviceHandleByIndex", part_by_index);
    Find("nvmlDeviceGetUtilizationRates", utilization);
    Find("nvmlDeviceGetMemoryInfo", memory);
    Find("nvmlDeviceGetPowerUsage", power);
    Find("nvmlDeviceGetTemperature", temperature);
    Find("nvmlDeviceGetTotalEccErrors", ecc_errors);
    Find("nvmlEventSetCreate", event_set_create);
    Find("nvmlEventSetFree", event_set_free);
    Find("nvmlDeviceRegisterEvents", register_events);
    Find("nvmlEventSetWait_v2", event_set_wait);
    return Find("nvmlInit_v2", init) && Find("nvmlShutdown", shutdown) &&
           Find("nvmlErrorString", error_string) && Find("nvmlDeviceGetCount_v2", count) &&
           Find("nvmlDeviceGetHandleByIndex_v2", by_index) && Find("nvmlDeviceGetUUID", uuid);
  }

  std::string UuidOf(nvml::Device device) const {
    char text[kUuidBytes] = "";
    return uuid(device, text, kUuidBytes) == 0 ? text : "";
  }
  std::vector<std::string> PartsOf(nvml::Device card) const {
    std::vector<std::string> parts;
    unsigned most = 0;
    if (most_parts == nullptr || part_by_index == nullptr || most_parts(card, &most) != 0)
      return parts;
    nvml::Device part = nullptr;
    for (unsigned i = 0; i < most; ++i)
      if (part_by_index(card, i, &part) == 0) parts.push_back(UuidOf(part));
    return parts;
  }

  void* library = nullptr;
  bool began = false;
  nvml::EventSet events = nullptr;  // of XIDs; null where they can't be heard of
  struct Card {
    nvml::Device device;
    std::string uuid;
    std::vector<std::string> parts;
  };
  std::vector<Card> cards;

  nvml::Init* init = nullptr;
  nvml::Shutdown* shutdown = nullptr;
  nvml::ErrorString* error_string = nullptr;
  nvml::DeviceGetCount* count = nullptr;
  nvml::DeviceGetHandleByIndex* by_index = nullptr;
  nvml::DeviceGetUuid* uuid = nullptr;
  nvml::DeviceGetMaxMigDeviceCount* most_parts = nullptr;
  nvml::DeviceGetMigDeviceHandleByIndex* part_by_index = nullptr;
  nvml::DeviceGetUtilizationRates* utilization = nullptr;
  nvml::DeviceGetMemoryInfo* memory = nullptr;
  nvml::DeviceGetPowerUsage* power = nullptr;
  nvml::DeviceGetTemperature* temperature = nullptr;
  nvml::DeviceGetTotalEccErrors* ecc_errors = nullptr;
  nvml::EventSetCreate* event_set_create = nullptr;
  nvml::EventSetFree* event_set_free = nullptr;
  nvml::DeviceRegisterEvents* register_events = nullptr;
  nvml::EventSetWait* event_set_wait = nullptr;
};

Nvml::Nvml(std::unique_ptr<Api> api) : api_(std::move(api)) {}
Nvml::~Nvml() = default;

absl::StatusOr<std::unique_ptr<Nvml>> Nvml::Load(const std::string& library) {
  auto api = std::make_unique<Api>();
  api->library = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (api->library == nullptr) {
    const char* why = dlerror();
    return absl::NotFoundError(absl::StrCat("no NVML: ", why != nullptr ? why : library));
  }
  if (!api->FindAll())
    return absl::UnavailableError(absl::StrCat(library, " lacks calls of NVML; is it one?"));
  if (const nvml::Return refused = api->init(); refused != 0)
    return absl::UnavailableError(absl::StrCat("NVML: ", api->error_string(refused)));
  api->began = true;
  unsigned cards = 0;
  if (api->count(&cards) != 0 || cards == 0) return absl::NotFoundError("NVML knows of no card");
  const bool hears = api->event_set_create != nullptr && api->event_set_free != nullptr &&
                     api->register_events != nullptr && api->event_set_wait != nullptr &&
                     api->event_set_create(&api->events) == 0;
  for (unsigned i = 0; i < cards; ++i) {
    Api::Card& card = api->cards.emplace_back();
    if (api->by_index(i, &card.device) != 0) card.device = nullptr;
    if (card.device == nullptr) continue;
    card.uuid = api->UuidOf(card.device);
    card.parts = api->PartsOf(card.device);
    if (hears) api->register_events(card.device, nvml::kXidErrors, api->events);
  }
  return std::unique_ptr<Nvml>(new Nvml(std::move(api)));
}

std::vector<CardReading> Nvml::Read() {
  std::vector<CardReading> readings;
  for (unsigned i = 0; i < api_->cards.size(); ++i) {
    const auto& [device, uuid, parts] = api_->cards[i];
    CardReading& reading = readings.emplace_back();
    reading.index = i;
    reading.uuid = uuid;
    reading.parts = parts;
    if (device == nullptr) continue;
    nvml::Utilization rates{};
    if (api_->utilization != nullptr && api_->utilization(device, &rates) == 0)
      reading.utilization = rates.gpu / 100.0;
    nvml::Memory memory{};
    if (api_->memory != nullptr && api_->memory(device, &memory) == 0) {
      reading.memory_used_bytes = memory.used;
      reading.memory_bytes = memory.total;
    }
    unsigned number = 0;
    if (api_->power != nullptr && api_->power(device, &number) == 0)
      reading.power_watts = number / 1000.0;
    if (api_->temperature != nullptr &&
        api_->temperature(device, nvml::kTemperatureOfGpu, &number) == 0)
      reading.temperature_celsius = number;
    unsigned long long errors = 0;
    if (api_->ecc_errors != nullptr &&
        api_->ecc_errors(device, nvml::kUncorrected, nvml::kSinceDriverLoad, &errors) == 0)
      reading.uncorrected_errors = errors;
  }
  TakeXids(readings);
  return readings;
}

void Nvml::TakeXids(std::vector<CardReading>& readings) {
  if (api_->events == nullptr || api_->event_set_wait == nullptr) return;
  nvml::EventData event{};
  for (int i = 0; i < kMostXidsAtOnce && api_->event_set_wait(api_->events, &event, 0) == 0; ++i) {
    if (event.type != nvml::kXidErrors) continue;
    for (size_t card = 0; card < readings.size(); ++card) {
      if (api_->cards[card].device == event.device) readings[card].xids.push_back(event.data);
    }
  }
}

}  // namespace tiltshift::monitoring
