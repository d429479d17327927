#include "engine/time_encoder.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "engine/recently_used.h"

namespace tiltshift::engine {
namespace {

constexpr size_t kRowsKept = 4;  // the two sides of guidance, of two renders

// `row`, as often as there are steps.
void WriteRepeated(Program& program, const Value& input, std::span<const float> row) {
  std::vector<float> rows;
  for (int64_t i = 0; i < input.shape.rows(); ++i) rows.insert(rows.end(), row.begin(), row.end());
  program.Write(input, rows);
}

}  // namespace

struct TimeEncoder::Time {
  int steps = 0;
  UNet::TimeGraph graph;
  std::unique_ptr<Program> program;
};

TimeEncoder::TimeEncoder(const Model::Impl& model, const UNet& network)
    : model_(model), network_(network) {}
TimeEncoder::~TimeEncoder() = default;

void TimeEncoder::DropPrograms() { time_.reset(); }

absl::StatusOr<TimeEncoder::Time*> TimeEncoder::ProgramFor(int steps) {
  if (time_ != nullptr && time_->steps == steps) return time_.get();
  auto time = std::make_unique<Time>();
  time->steps = steps;
  time->graph = network_.BuildTime(steps);
  TS_ASSIGN_OR_RETURN(time->program,
                      model_.backend->Compile(time->graph.graph, model_.seldom_compute()));
  time_ = std::move(time);
  return time_.get();
}

std::vector<float> TimeEncoder::AddedInput(const TimeCondition& condition) const {
  const UNetConfig& config = network_.config();
  if (config.added_dim == 0) return {};
  TS_CHECK(static_cast<int>(condition.size_numbers.size()) == model_.config.size_numbers);
  std::vector<float> added(config.added_dim);
  std::ranges::copy(condition.pooled, added.begin());
  size_t at = condition.pooled.size();
  for (const float number : condition.size_numbers) {
    network_.FillSinusoids(number, std::span(added).subspan(at, config.size_embed_dim));
    at += config.size_embed_dim;
  }
  TS_CHECK(at == added.size());
  return added;
}

absl::StatusOr<std::span<const float>> TimeEncoder::Rows(std::span<const float> timesteps,
                                                         const TimeCondition& condition) {
  const UNet& unet = network_;
  Known made{.timesteps = {timesteps.begin(), timesteps.end()}, .added = AddedInput(condition)};
  made.guidance.resize(unet.config().guidance_embed_dim);
  if (!made.guidance.empty()) unet.FillGuidanceInput(condition.guidance_scale, made.guidance);
  const Known* known = MoveToFront(known_, [&](const Known& other) {
    return other.timesteps == made.timesteps && other.guidance == made.guidance &&
           other.added == made.added;
  });
  if (known != nullptr) return known->rows;

  TS_ASSIGN_OR_RETURN(Time * time, ProgramFor(static_cast<int>(timesteps.size())));
  const size_t channels = unet.TimeInputChannels();
  std::vector<float> input(time->graph.input.shape.size());
  for (size_t i = 0; i < timesteps.size(); ++i) {
    unet.FillSinusoids(timesteps[i], std::span(input).subspan(i * channels, channels));
  }
  time->program->Write(time->graph.input, input);
  if (time->graph.guidance) WriteRepeated(*time->program, *time->graph.guidance, made.guidance);
  if (time->graph.added) WriteRepeated(*time->program, *time->graph.added, made.added);
  time->program->Run();
  made.rows.resize(time->graph.output.shape.size());
  time->program->Read(time->graph.output, made.rows);
  known_.push_front(std::move(made));
  if (known_.size() > kRowsKept) known_.pop_back();
  return known_.front().rows;
}

}  // namespace tiltshift::engine
