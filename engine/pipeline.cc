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

struct Pipeline::Denoiser {
  LatentSize size;
  int tokens = 0;
  UNet::DenoiseGraph graph;
  std::unique_ptr<Program> program;
  std::unique_ptr<Program> unguided_program;  // the same again: guidance runs the two side by side
  std::vector<float> input, output, unguided, history, noise;
};

struct Pipeline::Decoder {
  LatentSize size;
  Vae::DecodeGraph graph;
  std::unique_ptr<Program> program;
};

Pipeline::Pipeline(std::shared_ptr<const Model> model)
    : model_(std::move(model)), prompts_(model_->impl()), times_(model_->impl()) {}
Pipeline::~Pipeline() = default;

int64_t Pipeline::LatentFloats(LatentSize size) const {
  return int64_t{model().config.vae.latent_channels} * size.height * size.width;
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
  times_.DropPrograms();
  denoisers_.clear();
  decoders_.clear();
}

absl::StatusOr<Pipeline::Denoiser*> Pipeline::DenoiserFor(LatentSize size, int tokens) {
  DropIfThreadsChanged();
  auto* known = MoveToFront(denoisers_, [&](const auto& denoiser) {
    return denoiser->size == size && denoiser->tokens == tokens;
  });
  if (known != nullptr) return known->get();
  auto denoiser = std::make_unique<Denoiser>();
  denoiser->size = size;
  denoiser->tokens = tokens;
  denoiser->graph = model().unet->BuildDenoise({size.height, size.width, 0}, tokens);
  for (std::unique_ptr<Program>* program : {&denoiser->program, &denoiser->unguided_program}) {
    TS_ASSIGN_OR_RETURN(*program, model().backend->Compile(denoiser->graph.graph, model().compute));
  }
  denoiser->input.resize(denoiser->graph.latent.shape.size());
  denoiser->output.resize(denoiser->graph.output.shape.size());
  denoiser->unguided.resize(denoiser->output.size());
  denoisers_.push_front(std::move(denoiser));
  if (denoisers_.size() > kSizesKept) denoisers_.pop_back();
  return denoisers_.front().get();
}

// SDXL's numbers: the size a photo was trained from, where it was cropped, and the size it came to;
// all as if nothing was resized or cropped. Where the last one is an aesthetic score, diffusers'
// two.
TimeCondition Pipeline::ConditionFor(LatentSize size, const Prompt& prompt, bool negative) const {
  TimeCondition condition{.pooled = prompt.pooled};
  const float height = static_cast<float>(size.height * model().config.vae.scale());
  const float width = static_cast<float>(size.width * model().config.vae.scale());
  if (model().config.size_numbers == 6)
    condition.size_numbers = {height, width, 0, 0, height, width};
  if (model().config.size_numbers == 5)
    condition.size_numbers = {height, width, 0, 0, negative ? 2.5f : 6.0f};
  return condition;
}

absl::Status Pipeline::Denoise(const DenoiseOptions& options,
                               const std::function<bool()>& keep_going, std::span<float> latent) {
  TS_CHECK(static_cast<int64_t>(latent.size()) == LatentFloats(options.size));
  const Sampler& sampler = *options.sampler;
  const bool guided = options.negative != nullptr;
  TS_CHECK(!guided || options.negative->tokens == options.prompt->tokens);
  std::vector<float> timesteps(sampler.steps());
  for (int step = 0; step < sampler.steps(); ++step) timesteps[step] = sampler.timestep(step);
  const auto rows_for = [&](const Prompt& prompt) {
    TimeCondition condition = ConditionFor(options.size, prompt, &prompt == options.negative);
    condition.guidance_scale = options.guidance_scale;
    return times_.Rows(timesteps, condition);
  };
  TS_ASSIGN_OR_RETURN(Denoiser * unet, DenoiserFor(options.size, options.prompt->tokens));
  TS_ASSIGN_OR_RETURN(const std::span<const float> rows, rows_for(*options.prompt));
  std::span<const float> unguided_rows;
  if (guided) {
    TS_ASSIGN_OR_RETURN(unguided_rows, rows_for(*options.negative));
  }
  std::vector<float>& output = unet->output;
  std::vector<float>& unguided = unet->unguided;
  unet->history.assign(sampler.history_floats(latent.size()), 0.0f);
  unet->noise.resize(latent.size());

  const size_t channels = model().unet->TimeChannels();
  const auto prepare = [&](Program& program, int step, std::span<const float> times,
                           const Prompt& prompt) {
    program.Write(unet->graph.latent, unet->input);
    program.Write(unet->graph.time, times.subspan(step * channels, channels));
    program.Bind(unet->graph.context, *prompt.context);
  };
  for (int step = 0; step < sampler.steps(); ++step) {
    if (keep_going && !keep_going()) {
      return absl::CancelledError(
          absl::StrCat("stopped before step ", step, " of ", sampler.steps()));
    }
    sampler.ScaleInput(step, latent, std::span(unet->input).first(latent.size()));
    prepare(*unet->program, step, rows, *options.prompt);
    if (guided) {
      prepare(*unet->unguided_program, step, unguided_rows, *options.negative);
      unet->program->RunWith(*unet->unguided_program);
      unet->program->Read(unet->graph.output, output);
      unet->unguided_program->Read(unet->graph.output, unguided);
      for (size_t i = 0; i < output.size(); ++i) {
        output[i] = unguided[i] + options.guidance_scale * (output[i] - unguided[i]);
      }
    } else {
      unet->program->Run();
      unet->program->Read(unet->graph.output, output);
    }
    if (sampler.NeedsNoise(step)) FillNormal(options.seed, step + 1, unet->noise);
    sampler.Step(step, {output, unet->noise}, {latent, unet->history});
  }
  return absl::OkStatus();
}

absl::Status Pipeline::Forward(const ForwardOptions& options, std::span<const float> input,
                               std::span<float> output) {
  TimeCondition condition = ConditionFor(options.size, *options.prompt, false);
  condition.guidance_scale = options.guidance_scale;
  TS_ASSIGN_OR_RETURN(Denoiser * unet, DenoiserFor(options.size, options.prompt->tokens));
  TS_ASSIGN_OR_RETURN(const std::span<const float> row,
                      times_.Rows({&options.timestep, 1}, condition));
  unet->program->Write(unet->graph.latent, input);
  unet->program->Write(unet->graph.time, row);
  unet->program->Bind(unet->graph.context, *options.prompt->context);
  unet->program->Run();
  unet->program->Read(unet->graph.output, output);
  return absl::OkStatus();
}

absl::StatusOr<Pipeline::Decoder*> Pipeline::DecoderFor(LatentSize size) {
  DropIfThreadsChanged();
  auto* known = MoveToFront(decoders_, [&](const auto& decoder) { return decoder->size == size; });
  if (known != nullptr) return known->get();
  auto decoder = std::make_unique<Decoder>();
  decoder->size = size;
  decoder->graph = model().vae->BuildDecode({size.height, size.width, 0});
  TS_ASSIGN_OR_RETURN(decoder->program,
                      model().backend->Compile(decoder->graph.graph, model().compute));
  decoders_.push_front(std::move(decoder));
  if (decoders_.size() > kSizesKept) decoders_.pop_back();
  return decoders_.front().get();
}

absl::Status Pipeline::Decode(LatentSize size, std::span<const float> latent,
                              std::span<float> picture) {
  TS_ASSIGN_OR_RETURN(Decoder * decoder, DecoderFor(size));
  decoder->program->Write(decoder->graph.latent, latent);
  decoder->program->Run();
  decoder->program->Read(decoder->graph.picture, picture);
  if (decoder->graph.range != 1 || decoder->graph.shift != 0) {
    for (float& value : picture) value = value * decoder->graph.range + decoder->graph.shift;
  }
  return absl::OkStatus();
}

absl::StatusOr<Pipeline::DenoisePrograms> Pipeline::DenoiseProgramsFor(LatentSize size) {
  TS_ASSIGN_OR_RETURN(Denoiser * unet, DenoiserFor(size, model().texts[0].tokenizer.length()));
  return DenoisePrograms{unet->program.get(), unet->unguided_program.get()};
}

absl::StatusOr<Program*> Pipeline::DecodeProgram(LatentSize size) {
  TS_ASSIGN_OR_RETURN(Decoder * decoder, DecoderFor(size));
  return decoder->program.get();
}

}  // namespace tiltshift::engine
