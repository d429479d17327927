#include "scheduler/message_checks.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/protocol.h"

namespace tiltshift::scheduler {
namespace {

constexpr double kMostWatts = 1e6, kMostCelsius = 1e4;
constexpr size_t kLongestProblem = 4'096;

absl::Status Bad(const std::string& field, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": ", what));
}

absl::Status CheckText(const std::string& field, const std::string& text, size_t longest) {
  if (text.size() > longest) return Bad(field, absl::StrCat("longer than ", longest, " bytes"));
  const bool control =
      std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
  return control ? Bad(field, "holds a control character") : absl::OkStatus();
}

absl::Status CheckHeld(const std::string& field, int tokens) {
  if (tokens <= kMostHeld) return absl::OkStatus();
  return Bad(field, absl::StrCat("more than ", kMostHeld));
}

bool IsRange(const v1::VariantRange& range) {
  return range.count() > 0 && range.first() < kMostVariants &&
         range.count() <= kMostVariants - range.first();
}

absl::Status CheckNumber(const std::string& field, const char* name, double value, double most) {
  if (value >= 0 && value <= most) return absl::OkStatus();
  return Bad(absl::StrCat(field, name), absl::StrCat(value, " is not from 0 to ", most));
}

// Of every turn, so that a field is named only where something is wrong with it.
absl::Status CheckOutcome(int at, const v1::Outcome& outcome) {
  const auto in = [at](const auto&... parts) {
    return absl::StrCat("turn.outcomes[", at, "].", parts...);
  };
  for (int i = 0; i < outcome.committed_size(); ++i) {
    const v1::VariantRange& range = outcome.committed(i);
    if (IsRange(range)) continue;
    return Bad(in("committed[", i, "]"),
               absl::StrCat("first ", range.first(), ", count ", range.count(),
                            " is no range of a job: they have 1 to ", kMostVariants, " variants"));
  }
  for (int i = 0; i < outcome.failed_size(); ++i) {
    if (outcome.failed(i).index() >= kMostVariants) {
      return Bad(in("failed[", i, "].index"),
                 absl::StrCat(outcome.failed(i).index(), " is beyond any job's variants"));
    }
  }
  const v1::StageSeconds& stages = outcome.stages();
  for (const auto& [name, seconds] : std::initializer_list<std::pair<const char*, double>>{
           {"render_seconds", outcome.render_seconds()},
           {"stages.encode", stages.encode()},
           {"stages.denoise", stages.denoise()},
           {"stages.decode", stages.decode()},
           {"stages.finish", stages.finish()},
           {"stages.store", stages.store()}}) {
    if (seconds >= 0 && seconds <= kMostSeconds) continue;
    return Bad(in(name), absl::StrCat(seconds, " is not from 0 to ", kMostSeconds));
  }
  return absl::OkStatus();
}

absl::Status CheckDevice(const v1::DeviceStatus& device) {
  const std::string field = "heartbeat.device_status";
  TS_RETURN_IF_ERROR(CheckNumber(field, ".utilization", device.utilization(), 1));
  TS_RETURN_IF_ERROR(CheckNumber(field, ".power_watts", device.power_watts(), kMostWatts));
  return CheckNumber(field, ".temperature_celsius", device.temperature_celsius(), kMostCelsius);
}

absl::Status CheckTurn(const v1::Turn& turn) {
  if (turn.want_leases() > kMostLeases) {
    return Bad("turn.want_leases", absl::StrCat(turn.want_leases(), " is more than ", kMostLeases));
  }
  for (int i = 0; i < turn.outcomes_size(); ++i)
    TS_RETURN_IF_ERROR(CheckOutcome(i, turn.outcomes(i)));
  return absl::OkStatus();
}

absl::Status CheckHeartbeat(const v1::Heartbeat& heartbeat) {
  TS_RETURN_IF_ERROR(CheckHeld("heartbeat.held_tokens", heartbeat.held_tokens_size()));
  TS_RETURN_IF_ERROR(CheckDevice(heartbeat.device_status()));
  if (heartbeat.loaded_models_size() > kMostModels)
    return Bad("heartbeat.loaded_models", absl::StrCat("more than ", kMostModels));
  for (const std::string& model : heartbeat.loaded_models())
    TS_RETURN_IF_ERROR(CheckText("heartbeat.loaded_models", model, kLongestDevice));
  return absl::OkStatus();
}

absl::Status CheckBeside(const std::string& field,
                         const google::protobuf::RepeatedPtrField<v1::BesideInfo>& infos) {
  if (infos.size() > kMostModels) return Bad(field, absl::StrCat("more than ", kMostModels));
  for (int i = 0; i < infos.size(); ++i) {
    const std::string at = absl::StrCat(field, "[", i, "]");
    for (const std::string* text : {&infos[i].name(), &infos[i].hash()})
      TS_RETURN_IF_ERROR(CheckText(at, *text, kLongestDevice));
    TS_RETURN_IF_ERROR(CheckText(at + ".problem", infos[i].problem(), kLongestProblem));
    if (infos[i].misfits_size() > kMostModels)
      return Bad(at + ".misfits", absl::StrCat("more than ", kMostModels));
    for (const std::string& model : infos[i].misfits())
      TS_RETURN_IF_ERROR(CheckText(at + ".misfits", model, kLongestDevice));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckId(const std::string& field, const std::string& id, size_t longest) {
  TS_RETURN_IF_ERROR(CheckText(field, id, longest));
  if (id.find(' ') == std::string::npos) return absl::OkStatus();
  return Bad(field, "holds white space");
}

absl::Status NoSuchJob(const std::string& id) {
  if (id.empty()) return absl::InvalidArgumentError("job_id: is empty; name a job");
  TS_RETURN_IF_ERROR(CheckId("job_id", id));
  return absl::NotFoundError(
      absl::StrCat("there is no job \"", id, "\"; `tiltshift list` shows the jobs"));
}

uint32_t NewestProtocol(const v1::Hello& hello) {
  return hello.newest_protocol() == 0 ? hello.protocol() : hello.newest_protocol();
}

absl::Status CheckHello(const v1::Hello& hello) {
  const uint32_t oldest = hello.protocol(), newest = NewestProtocol(hello);
  if (newest < kOldestProtocol || oldest > kProtocol || oldest > newest) {
    return Bad("hello", absl::StrCat("protocols ", oldest, " to ", newest,
                                     " are none of this scheduler's, ", kOldestProtocol, " to ",
                                     kProtocol, "; use a worker of its version, or of the next"));
  }
  if (hello.worker_id().empty()) return Bad("hello.worker_id", "is empty");
  TS_RETURN_IF_ERROR(CheckId("hello.worker_id", hello.worker_id()));
  TS_RETURN_IF_ERROR(CheckText("hello.device", hello.device(), kLongestDevice));
  TS_RETURN_IF_ERROR(CheckText("hello.device_kind", hello.device_kind(), kLongestDevice));
  if (hello.slots() == 0 || hello.slots() > kMostSlots) {
    return Bad("hello.slots", absl::StrCat(hello.slots(), "; a worker has 1 to ", kMostSlots));
  }
  if (hello.models_size() > kMostModels)
    return Bad("hello.models", absl::StrCat("more than ", kMostModels));
  for (int i = 0; i < hello.models_size(); ++i) {
    const std::string field = absl::StrCat("hello.models[", i, "]");
    for (const std::string* text : {&hello.models(i).name(), &hello.models(i).hash(),
                                    &hello.models(i).render_class(), &hello.models(i).needs()})
      TS_RETURN_IF_ERROR(CheckText(field, *text, kLongestDevice));
    TS_RETURN_IF_ERROR(CheckText(field + ".problem", hello.models(i).problem(), kLongestProblem));
  }
  TS_RETURN_IF_ERROR(CheckBeside("hello.loras", hello.loras()));
  TS_RETURN_IF_ERROR(CheckBeside("hello.controls", hello.controls()));
  return CheckHeld("hello.held_tokens", hello.held_tokens_size());
}

absl::Status CheckMessage(const v1::WorkerMessage& message) {
  switch (message.message_case()) {
    case v1::WorkerMessage::kTurn:
      return CheckTurn(message.turn());
    case v1::WorkerMessage::kHeartbeat:
      return CheckHeartbeat(message.heartbeat());
    case v1::WorkerMessage::kDraining:
      return absl::OkStatus();
    case v1::WorkerMessage::kHello:
      return Bad("hello", "this session has had one; another needs a stream of its own");
    default:
      return absl::InvalidArgumentError(
          "a message without turn, heartbeat or draining; use a worker of this scheduler's "
          "version");
  }
}

}  // namespace tiltshift::scheduler
