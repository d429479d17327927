#include "engine/cuda/card_denoise.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "engine/cuda/cuda_program.h"
#include "engine/cuda/denoise_row.h"
#include "kernels/elementwise.h"

namespace tiltshift::engine::cuda {
namespace {

using kernels::DenoiseRow;

// A step of a run as the kernel takes it.
DenoiseRow RowOf(const SampleRun& run, const SampleStep& step, int first_unet_row) {
  DenoiseRow row = RuleRow(step.rule);
  row.forwards = run.forward_count;
  row.guidance_scale = run.guidance_scale;
  row.picture_guidance_scale = run.picture_guidance_scale;
  row.input_factor = static_cast<float>(step.next_input_factor);
  row.noise_stream = step.noise_stream;
  row.seed = run.seed;
  for (int i = 0; i < run.forward_count; ++i) row.unet_row[i] = first_unet_row + i;
  if (!run.mask.empty()) {
    row.blend_signal = step.kept.signal;
    row.blend_noise = step.kept.noise;
  }
  return row;
}

template <class T>
cudaError_t ToRows(cudaStream_t stream, const kernels::FromPlanarArguments<float>& as_floats,
                   char* rows) {
  return kernels::FromPlanar<T>(stream, {.batch = as_floats.batch,
                                         .channels = as_floats.channels,
                                         .positions = as_floats.positions,
                                         .x = as_floats.x,
                                         .y = reinterpret_cast<T*>(rows),
                                         .y_stride = as_floats.y_stride,
                                         .y_channels = as_floats.y_channels});
}

}  // namespace

CardDenoise::CardDenoise(const DenoiseBatchShape& shape, Card& card)
    : graph_(*shape.graph),
      input_(shape.input),
      time_(shape.time),
      context_(shape.context),
      output_(shape.output),
      samples_(shape.samples),
      forwards_(shape.forwards),
      channels_(shape.output.shape.channels),
      positions_(static_cast<int>(shape.input.shape.rows())),
      time_bytes_(shape.time.shape.size() * sizeof(float)),
      card_(card),
      places_(shape.samples) {}

CardDenoise::~CardDenoise() {
  if (forward_ != nullptr) cudaStreamSynchronize(forward_->stream());
  for (const cudaEvent_t event : {made_[0], made_[1], uploaded_}) {
    if (event != nullptr) cudaEventDestroy(event);
  }
}

absl::StatusOr<std::unique_ptr<CardDenoise>> CardDenoise::New(const DenoiseBatchShape& shape,
                                                              Card& card, CardWeights& weights) {
  TS_CHECK(shape.samples >= 1 && shape.forwards >= 1 && shape.forwards <= 3);
  std::unique_ptr<CardDenoise> denoise(new CardDenoise(shape, card));
  TS_RETURN_IF_ERROR(denoise->Allocate(weights));
  return denoise;
}

size_t CardDenoise::PlaneFloats(Plane plane) const {
  return static_cast<size_t>(positions_) * (plane == kMask ? 1 : channels_);
}

float* CardDenoise::PlaneOf(Plane plane, int place) const {
  return reinterpret_cast<float*>(planes_[plane].get()) + place * PlaneFloats(plane);
}

absl::Status CardDenoise::Allocate(CardWeights& weights) {
  half_ = weights.half();
  for (int plane = 0; plane < kPlanes; ++plane) {
    const size_t bytes = samples_ * PlaneFloats(static_cast<Plane>(plane)) * sizeof(float);
    TS_ASSIGN_OR_RETURN(planes_[plane], DeviceBytes::New(bytes));
  }
  const size_t rows_bytes = samples_ * sizeof(DenoiseRow);
  TS_ASSIGN_OR_RETURN(rows_, DeviceBytes::New(rows_bytes));
  TS_RETURN_IF_ERROR(ToStatus(cudaMemset(rows_.get(), 0, rows_bytes), "clearing memory"));
  const size_t input_floats = forwards_ * input_.shape.size();
  TS_ASSIGN_OR_RETURN(input_planes_, DeviceBytes::New(input_floats * sizeof(float)));
  TS_ASSIGN_OR_RETURN(read_, PinnedBytes::New(2 * PlaneFloats(kLatent) * sizeof(float)));
  for (cudaEvent_t* event : {&made_[0], &made_[1], &uploaded_}) {
    TS_RETURN_IF_ERROR(
        ToStatus(cudaEventCreateWithFlags(event, cudaEventDisableTiming), "making an event"));
  }
  TS_ASSIGN_OR_RETURN(forward_, CardForward::NewOnCard(graph_, weights, samples_ * forwards_,
                                                       [this](const CardForward& forward) {
                                                         return KernelLaunch(forward, half_);
                                                       }));
  return absl::OkStatus();
}

CardForward::Launchable CardDenoise::KernelLaunch(const CardForward& forward, Half half) const {
  const auto launch = [&]<class T>() -> CardForward::Launchable {
    const kernels::DenoiseArguments<T> p = {
        .samples = samples_,
        .channels = channels_,
        .positions = positions_,
        .rows = reinterpret_cast<const DenoiseRow*>(rows_.get()),
        .output = reinterpret_cast<const float*>(forward.At(output_, 0)),
        .output_stride = forward.Stride(output_),
        .latent = PlaneOf(kLatent, 0),
        .history = PlaneOf(kHistory, 0),
        .mask = PlaneOf(kMask, 0),
        .blend_clean = PlaneOf(kClean, 0),
        .blend_noise = PlaneOf(kNoise, 0),
        .input = reinterpret_cast<T*>(forward.At(input_, 0)),
        .input_stride = forward.Stride(input_)};
    return [p](cudaStream_t stream) { return kernels::DenoiseStep<T>(stream, p); };
  };
  return half == Half::kBf16 ? launch.template operator()<kernels::Bf16>()
                             : launch.template operator()<kernels::Fp16>();
}

absl::Status CardDenoise::Noted(const absl::Status& status) {
  if (absl::IsAborted(status)) card_.Note(status);
  return status;
}

absl::Status CardDenoise::Begin(int place, const SampleRun& run) {
  TS_CHECK(place >= 0 && place < samples_ && !run.steps.empty());
  TS_CHECK(run.forward_count >= 1 && run.forward_count <= forwards_);
  TS_CHECK(run.latent.size() == PlaneFloats(kLatent));
  TS_CHECK(run.latent.size() + run.extra.size() == static_cast<size_t>(input_.shape.size()));
  TS_RETURN_IF_ERROR(card_.health());
  return Noted(BeginOnCard(place, run));
}

absl::Status CardDenoise::BeginOnCard(int place, const SampleRun& run) {
  Place& at = places_[place];
  const int count = static_cast<int>(run.steps.size());
  at.count = at.next = 0;  // should anything fail
  TS_RETURN_IF_ERROR(MakeRoom(at, count));
  at.forwards = run.forward_count;
  TS_RETURN_IF_ERROR(UploadSteps(place, run));
  TS_RETURN_IF_ERROR(UploadPlanes(place, run));
  TS_RETURN_IF_ERROR(UploadInputs(place, run));
  for (int i = 0; i < run.forward_count; ++i) {
    const auto& buffer = dynamic_cast<const CardBuffer&>(*run.forwards[i].context);
    TS_CHECK(buffer.bytes == forward_->BytesOf(context_));
    TS_RETURN_IF_ERROR(forward_->Bind(context_, UNetRow(place, i), buffer.data.get(), buffer.id));
  }
  at.count = count;
  return ToStatus(cudaEventRecord(uploaded_, forward_->stream()), "beginning a run");
}

// For the steps, and for staging all that is uploaded. What was staged before has arrived then.
absl::Status CardDenoise::MakeRoom(Place& at, int count) {
  const size_t steps_bytes = StepsBytes(count);
  if (steps_bytes > at.steps_bytes) {
    at.steps_bytes = 0;
    TS_ASSIGN_OR_RETURN(at.steps, DeviceBytes::New(steps_bytes));
    at.steps_bytes = steps_bytes;
  }
  size_t bytes = steps_bytes + forwards_ * input_.shape.size() * sizeof(float);
  for (int plane = 0; plane < kPlanes; ++plane) {
    bytes += PlaneFloats(static_cast<Plane>(plane)) * sizeof(float);
  }
  TS_RETURN_IF_ERROR(ToStatus(cudaEventSynchronize(uploaded_), "beginning a run"));
  staged_ = 0;
  if (bytes <= staging_bytes_) return absl::OkStatus();
  staging_bytes_ = 0;
  TS_ASSIGN_OR_RETURN(staging_, PinnedBytes::New(bytes));
  staging_bytes_ = bytes;
  return absl::OkStatus();
}

absl::Status CardDenoise::Upload(const void* from, size_t bytes, void* to) {
  if (bytes == 0) return absl::OkStatus();
  TS_CHECK(staged_ + bytes <= staging_bytes_);
  char* staged = staging_.get() + staged_;
  staged_ += bytes;
  std::memcpy(staged, from, bytes);
  return ToStatus(cudaMemcpyAsync(to, staged, bytes, cudaMemcpyHostToDevice, forward_->stream()),
                  "beginning a run");
}

absl::Status CardDenoise::UploadSteps(int place, const SampleRun& run) {
  const int count = static_cast<int>(run.steps.size());
  std::vector<DenoiseRow> rows;
  for (const SampleStep& step : run.steps) rows.push_back(RowOf(run, step, UNetRow(place, 0)));
  char* to = places_[place].steps.get();
  TS_RETURN_IF_ERROR(Upload(rows.data(), rows.size() * sizeof(DenoiseRow), to));
  const size_t row_floats = time_bytes_ / sizeof(float);
  std::vector<float> times;  // [steps, forwards, channels]
  for (int step = 0; step < count; ++step) {
    for (int i = 0; i < run.forward_count; ++i) {
      const auto row = run.forwards[i].times.subspan(step * row_floats, row_floats);
      times.insert(times.end(), row.begin(), row.end());
    }
  }
  return Upload(times.data(), times.size() * sizeof(float), to + TimesAt(count));
}

absl::Status CardDenoise::UploadPlanes(int place, const SampleRun& run) {
  const std::pair<Plane, std::span<const float>> planes[] = {{kLatent, run.latent},
                                                             {kHistory, run.history},
                                                             {kMask, run.mask},
                                                             {kClean, run.clean},
                                                             {kNoise, run.noise}};
  for (const auto& [plane, values] : planes) {
    if (values.empty()) continue;
    TS_CHECK(values.size() == PlaneFloats(plane));
    TS_RETURN_IF_ERROR(Upload(values.data(), values.size_bytes(), PlaneOf(plane, place)));
  }
  return absl::OkStatus();
}

// The UNet's input of the first step; later ones are the kernel's.
absl::Status CardDenoise::UploadInputs(int place, const SampleRun& run) {
  std::vector<float> planes;
  for (int i = 0; i < run.forward_count; ++i) {
    for (const float value : run.latent) planes.push_back(run.input_factor * value);
    if (run.forwards[i].blank) {
      planes.insert(planes.end(), run.extra.size(), 0.0f);
    } else {
      planes.insert(planes.end(), run.extra.begin(), run.extra.end());
    }
  }
  TS_RETURN_IF_ERROR(Upload(planes.data(), planes.size() * sizeof(float), input_planes_.get()));
  const kernels::FromPlanarArguments<float> p = {
      .batch = run.forward_count,
      .channels = input_.shape.channels,
      .positions = positions_,
      .x = reinterpret_cast<const float*>(input_planes_.get()),
      .y_stride = forward_->Stride(input_),
      .y_channels = PaddedChannels(input_.shape.channels)};
  char* rows = forward_->At(input_, UNetRow(place, 0));
  return ToStatus(half_ == Half::kBf16 ? ToRows<kernels::Bf16>(forward_->stream(), p, rows)
                                       : ToRows<kernels::Fp16>(forward_->stream(), p, rows),
                  "beginning a run");
}

absl::Status CardDenoise::Step() {
  TS_RETURN_IF_ERROR(card_.health());
  const bool all_rest =
      std::ranges::all_of(places_, [](const Place& place) { return place.next >= place.count; });
  return all_rest ? absl::OkStatus() : Noted(StepOnCard());
}

absl::Status CardDenoise::StepOnCard() {
  const cudaEvent_t event = made_[started_ % kInFlight];
  if (started_ >= kInFlight) {
    TS_RETURN_IF_ERROR(ToStatus(cudaEventSynchronize(event), "denoising"));
  }
  for (int place = 0; place < samples_; ++place) TS_RETURN_IF_ERROR(PrepareStep(place));
  TS_RETURN_IF_ERROR(forward_->Start());
  ++started_;
  return ToStatus(cudaEventRecord(event, forward_->stream()), "denoising");
}

absl::Status CardDenoise::PrepareStep(int place) {
  Place& at = places_[place];
  char* row = rows_.get() + place * sizeof(DenoiseRow);
  if (at.next >= at.count) {
    if (at.rests) return absl::OkStatus();
    at.rests = true;
    static_assert(DenoiseRow{}.forwards == 0);
    return ToStatus(cudaMemsetAsync(row, 0, sizeof(DenoiseRow), forward_->stream()), "denoising");
  }
  at.rests = false;
  const auto copy = [&](size_t from, size_t bytes, char* to) {
    return ToStatus(cudaMemcpyAsync(to, at.steps.get() + from, bytes, cudaMemcpyDeviceToDevice,
                                    forward_->stream()),
                    "denoising");
  };
  TS_RETURN_IF_ERROR(copy(at.next * sizeof(DenoiseRow), sizeof(DenoiseRow), row));
  const size_t times = at.forwards * time_bytes_;
  TS_RETURN_IF_ERROR(
      copy(TimesAt(at.count) + at.next * times, times, forward_->At(time_, UNetRow(place, 0))));
  ++at.next;
  return absl::OkStatus();
}

absl::Status CardDenoise::Read(int place, std::span<float> latent, std::span<float> history) {
  TS_RETURN_IF_ERROR(card_.health());
  char* to = read_.get();
  const cudaStream_t stream = forward_->stream();
  for (const auto& [plane, values] : {std::pair(kLatent, latent), std::pair(kHistory, history)}) {
    TS_CHECK(values.empty() || values.size() == PlaneFloats(plane));
    if (!values.empty()) {
      TS_RETURN_IF_ERROR(
          Noted(ToStatus(cudaMemcpyAsync(to, PlaneOf(plane, place), values.size_bytes(),
                                         cudaMemcpyDeviceToHost, stream),
                         "reading a latent")));
    }
    to += values.size_bytes();
  }
  TS_RETURN_IF_ERROR(Noted(ToStatus(cudaStreamSynchronize(stream), "denoising")));
  std::memcpy(latent.data(), read_.get(), latent.size_bytes());
  if (!history.empty()) {
    std::memcpy(history.data(), read_.get() + latent.size_bytes(), history.size_bytes());
  }
  return absl::OkStatus();
}

}  // namespace tiltshift::engine::cuda
