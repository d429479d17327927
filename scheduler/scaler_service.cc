#include "scheduler/scaler_service.h"

#include <cmath>
#include <utility>

#include "absl/strings/numbers.h"

namespace tiltshift::scheduler {
namespace {

using externalscaler::GetMetricSpecResponse;
using externalscaler::GetMetricsRequest;
using externalscaler::GetMetricsResponse;
using externalscaler::IsActiveResponse;
using externalscaler::ScaledObjectRef;

constexpr char kService[] = "/externalscaler.ExternalScaler/";
constexpr char kMetric[] = "tiltshift-remaining-seconds";
constexpr double kSecondsPerWorker = 120;

IsActiveResponse ActiveResponse(bool active) {
  IsActiveResponse response;
  response.set_result(active);
  return response;
}

}  // namespace

// Told at once, and at every change.
class Scaler::Stream : public CallHandler {
 public:
  Stream(Scaler& scaler, std::shared_ptr<Call> call) : scaler_(scaler), call_(std::move(call)) {}

  absl::Status OnMessage(grpc::ByteBuffer& message) override {
    TS_ASSIGN_OR_RETURN(const auto ref, Parse<ScaledObjectRef>(message));
    TS_ASSIGN_OR_RETURN(const Wish wish, WishOf(ref));
    TS_ASSIGN_OR_RETURN(const double seconds, scaler_.RemainingSeconds(wish));
    std::lock_guard lock(scaler_.mutex_);
    call_->Write(ActiveResponse(seconds > 0));
    scaler_.streams_[call_] = {wish, seconds > 0};
    return absl::OkStatus();
  }
  void OnOver() override {
    std::lock_guard lock(scaler_.mutex_);
    scaler_.streams_.erase(call_);
  }

 private:
  Scaler& scaler_;
  const std::shared_ptr<Call> call_;
};

Scaler::Scaler(CallServer& server, const FarmLoop& loop) : loop_(loop) {
  const std::string service = kService;
  server.Unary<ScaledObjectRef, IsActiveResponse>(
      service + "IsActive", {},
      [this](const ScaledObjectRef& ref, const Reply<IsActiveResponse>& reply) {
        const auto wish = WishOf(ref);
        if (!wish.ok()) return reply(wish.status());
        const auto seconds = RemainingSeconds(*wish);
        if (!seconds.ok()) return reply(seconds.status());
        reply(ActiveResponse(*seconds > 0));
      });
  server.ServerStream(service + "StreamIsActive", [this](std::shared_ptr<Call> call) {
    return std::make_shared<Stream>(*this, std::move(call));
  });
  server.Unary<ScaledObjectRef, GetMetricSpecResponse>(
      service + "GetMetricSpec", {},
      [](const ScaledObjectRef& ref, const Reply<GetMetricSpecResponse>& reply) {
        const auto wish = WishOf(ref);
        if (!wish.ok()) return reply(wish.status());
        GetMetricSpecResponse response;
        auto& spec = *response.add_metricspecs();
        spec.set_metricname(kMetric);
        spec.set_targetsize(std::max<int64_t>(1, std::llround(wish->seconds_per_worker)));
        spec.set_targetsizefloat(wish->seconds_per_worker);
        reply(response);
      });
  server.Unary<GetMetricsRequest, GetMetricsResponse>(
      service + "GetMetrics", {},
      [this](const GetMetricsRequest& request, const Reply<GetMetricsResponse>& reply) {
        const auto wish = WishOf(request.scaledobjectref());
        if (!wish.ok()) return reply(wish.status());
        const auto seconds = RemainingSeconds(*wish);
        if (!seconds.ok()) return reply(seconds.status());
        GetMetricsResponse response;
        auto& value = *response.add_metricvalues();
        value.set_metricname(kMetric);
        value.set_metricvalue(static_cast<int64_t>(std::ceil(*seconds)));
        value.set_metricvaluefloat(*seconds);
        reply(response);
      });
}

absl::StatusOr<Scaler::Wish> Scaler::WishOf(const ScaledObjectRef& ref) {
  Wish wish{"", "", kSecondsPerWorker};
  for (const auto& [name, value] : ref.scalermetadata()) {
    if (name == "model") wish.model = value;
    if (name == "device") wish.device = value;
    if (name != "secondsPerWorker") continue;  // KEDA adds some of its own
    if (absl::SimpleAtod(value, &wish.seconds_per_worker) &&
        std::isfinite(wish.seconds_per_worker) && wish.seconds_per_worker > 0) {
      continue;
    }
    return absl::InvalidArgumentError(
        absl::StrCat("metadata secondsPerWorker: \"", value, "\" is no number above 0"));
  }
  return wish;
}

// Jobs that do not say what device they want count for every one.
absl::StatusOr<double> Scaler::RemainingSeconds(const Wish& wish) const {
  TS_ASSIGN_OR_RETURN(const Farm::Queue queue, loop_.Queue());
  double seconds = 0;
  for (const Farm::Load& load : queue.loads) {
    const bool device = wish.device.empty() || load.device == "any" || load.device == wish.device;
    const bool model = wish.model.empty() || load.model == wish.model;
    if (device && model) seconds += load.remaining_seconds;
  }
  return seconds;
}

void Scaler::Look() {
  std::lock_guard lock(mutex_);
  for (auto& [call, told] : streams_) {
    const auto seconds = RemainingSeconds(told.wish);
    if (!seconds.ok()) {  // KEDA connects again, perhaps to another
      call->Finish(seconds.status());
      continue;
    }
    if (std::exchange(told.active, *seconds > 0) != (*seconds > 0))
      call->Write(ActiveResponse(told.active));
  }
}

}  // namespace tiltshift::scheduler
