#include "engine/pipeline.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "engine/philox.h"
#include "engine/recently_used.h"

namespace tiltshift::engine {
namespace {

constexpr size_t kSizesKept = 2;

}  // namespace

struct Pipeline::SizePrograms {
  LatentSize size;
  UNet::DenoiseGraph denoise;
  std::unique_ptr<Program> denoise_program;
  std::unique_ptr<Program> unguided_program;  // the same again: guidance runs the two side by side
  Vae::DecodeGraph decode;
  std::unique_ptr<Program> decode_program;  // made at the first decode
  std::vector<float> input, output, unguided, history, noise;
};

struct Pipeline::TimeRows {
  std::vector<float> timesteps;
  std::vector<float> rows;  // [steps, time channels]
};

Pipeline::Pipeline(std::shared_ptr<const Model> model)
    : model_(std::move(model)), prompts_(model_->impl()) {}
Pipeline::~Pipeline() = default;

int64_t Pipeline::LatentFloats(LatentSize size) const {
  return int64_t{model().config.unet.in_channels} * size.height * size.width;
}

int64_t Pipeline::PictureFloats(LatentSize size) const {
  const VaeConfig& vae = model().config.vae;
  return int64_t{vae.out_channels} * vae.scale() * vae.scale() * size.height * size.width;
}

void Pipeline::DropIfThreadsChanged() {
  const int threads = model().backend->threads();
  if (threads == threads_) return;
  threads_ = threads;
  prompts_.DropPrograms();
  sizes_.clear();
}

absl::StatusOr<Pipeline::SizePrograms*> Pipeline::ProgramsFor(LatentSize size) {
  DropIfThreadsChanged();
  auto* known = MoveToFront(sizes_, [&](const auto& programs) { return programs->size == size; });
  if (known != nullptr) return known->get();
  auto programs = std::make_unique<SizePrograms>();
  programs->size = size;
  programs->denoise =
      model().unet->BuildDenoise({size.height, size.width, 0}, model().tokenizer.length());
  TS_ASSIGN_OR_RETURN(programs->denoise_program,
                      model().backend->Compile(programs->denoise.graph, model().compute));
  TS_ASSIGN_OR_RETURN(programs->unguided_program,
                      model().backend->Compile(programs->denoise.graph, model().compute));
  programs->input.resize(LatentFloats(size));
  programs->output.resize(programs->denoise.output.shape.size());
  programs->unguided.resize(programs->output.size());
  sizes_.push_front(std::move(programs));
  if (sizes_.size() > kSizesKept) sizes_.pop_back();
  return sizes_.front().get();
}

absl::StatusOr<const Pipeline::TimeRows*> Pipeline::TimesFor(std::span<const float> timesteps) {
  if (times_ != nullptr && std::ranges::equal(times_->timesteps, timesteps)) return times_.get();
  const UNet& unet = *model().unet;
  const UNet::TimeGraph time = unet.BuildTime(static_cast<int>(timesteps.size()));
  TS_ASSIGN_OR_RETURN(auto program, model().backend->Compile(time.graph, Compute::kFp32));
  std::vector<float> input(time.input.shape.size());
  for (size_t i = 0; i < timesteps.size(); ++i) {
    unet.FillTimeInput(timesteps[i],
                       std::span(input).subspan(i * unet.TimeInputChannels(), unet.TimeInputChannels()));
  }
  program->Write(time.input, input);
  program->Run();
  times_ = std::make_unique<TimeRows>();
  times_->timesteps.assign(timesteps.begin(), timesteps.end());
  times_->rows.resize(time.output.shape.size());
  program->Read(time.output, times_->rows);
  return times_.get();
}

absl::Status Pipeline::Denoise(const DenoiseOptions& options, const std::function<bool()>& keep_going,
                               std::span<float> latent) {
  TS_CHECK(static_cast<int64_t>(latent.size()) == LatentFloats(options.size));
  const Sampler& sampler = *options.sampler;
  std::vector<float> timesteps(sampler.steps());
  for (int step = 0; step < sampler.steps(); ++step) timesteps[step] = sampler.timestep(step);
  TS_ASSIGN_OR_RETURN(SizePrograms * programs, ProgramsFor(options.size));
  TS_ASSIGN_OR_RETURN(const TimeRows* times, TimesFor(timesteps));
  const UNet::DenoiseGraph& graph = programs->denoise;
  const auto prepare = [&](Program& unet, std::span<const float> time, const Prompt& prompt) {
    unet.Write(graph.latent, programs->input);
    unet.Write(graph.time, time);
    unet.Bind(graph.context, *prompt.context);
  };
  std::vector<float>& output = programs->output;
  std::vector<float>& unguided = programs->unguided;
  programs->history.assign(sampler.history_floats(latent.size()), 0.0f);
  programs->noise.resize(latent.size());

  const size_t channels = model().unet->TimeChannels();
  for (int step = 0; step < sampler.steps(); ++step) {
    if (keep_going && !keep_going()) {
      return absl::CancelledError(absl::StrCat("stopped before step ", step, " of ", sampler.steps()));
    }
    sampler.ScaleInput(step, latent, programs->input);
    const auto row = std::span(times->rows).subspan(step * channels, channels);
    prepare(*programs->denoise_program, row, *options.prompt);
    if (options.negative != nullptr) {
      prepare(*programs->unguided_program, row, *options.negative);
      programs->denoise_program->RunWith(*programs->unguided_program);
      programs->denoise_program->Read(graph.output, output);
      programs->unguided_program->Read(graph.output, unguided);
      for (size_t i = 0; i < output.size(); ++i) {
        output[i] = unguided[i] + options.guidance_scale * (output[i] - unguided[i]);
      }
    } else {
      programs->denoise_program->Run();
      programs->denoise_program->Read(graph.output, output);
    }
    if (sampler.NeedsNoise(step)) FillNormal(options.seed, step + 1, programs->noise);
    sampler.Step(step, {output, programs->noise}, {latent, programs->history});
  }
  return absl::OkStatus();
}

absl::Status Pipeline::Forward(LatentSize size, float timestep, const Prompt& prompt,
                               std::span<const float> latent, std::span<float> output) {
  TS_ASSIGN_OR_RETURN(SizePrograms * programs, ProgramsFor(size));
  TS_ASSIGN_OR_RETURN(const TimeRows* times, TimesFor({&timestep, 1}));
  Program& unet = *programs->denoise_program;
  unet.Write(programs->denoise.latent, latent);
  unet.Write(programs->denoise.time, times->rows);
  unet.Bind(programs->denoise.context, *prompt.context);
  unet.Run();
  unet.Read(programs->denoise.output, output);
  return absl::OkStatus();
}

absl::Status Pipeline::PrepareDecode(SizePrograms* programs) {
  if (programs->decode_program != nullptr) return absl::OkStatus();
  programs->decode = model().vae->BuildDecode({programs->size.height, programs->size.width, 0});
  TS_ASSIGN_OR_RETURN(programs->decode_program,
                      model().backend->Compile(programs->decode.graph, model().compute));
  return absl::OkStatus();
}

absl::Status Pipeline::Decode(LatentSize size, std::span<const float> latent, std::span<float> picture) {
  TS_ASSIGN_OR_RETURN(SizePrograms * programs, ProgramsFor(size));
  TS_RETURN_IF_ERROR(PrepareDecode(programs));
  programs->decode_program->Write(programs->decode.latent, latent);
  programs->decode_program->Run();
  programs->decode_program->Read(programs->decode.picture, picture);
  const Vae::DecodeGraph& decode = programs->decode;
  if (decode.range != 1 || decode.shift != 0) {
    for (float& value : picture) value = value * decode.range + decode.shift;
  }
  return absl::OkStatus();
}

absl::StatusOr<Pipeline::DenoisePrograms> Pipeline::DenoiseProgramsFor(LatentSize size) {
  TS_ASSIGN_OR_RETURN(SizePrograms * programs, ProgramsFor(size));
  return DenoisePrograms{programs->denoise_program.get(), programs->unguided_program.get()};
}

absl::StatusOr<Program*> Pipeline::DecodeProgram(LatentSize size) {
  TS_ASSIGN_OR_RETURN(SizePrograms * programs, ProgramsFor(size));
  TS_RETURN_IF_ERROR(PrepareDecode(programs));
  return programs->decode_program.get();
}

}  // namespace tiltshift::engine
