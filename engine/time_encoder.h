// What tells the UNet when and under which numbers it works: for each step of a run a row of the
// biases that the time embedding becomes, with what stands beside it (the guidance scale, the
// pooled text, the picture's size).
#pragma once

#include <list>
#include <memory>
#include <span>
#include <vector>

#include "engine/model_impl.h"

namespace tiltshift::engine {

// What stands beside the timestep; what the model does not take is passed over.
struct TimeCondition {
  std::span<const float> pooled;
  std::vector<float> size_numbers;  // config.size_numbers of them
  float guidance_scale = 1;
};

// Used by one thread.
class TimeEncoder {
 public:
  // Of one of the model's networks: its UNet or a ControlNet. Both must outlive it.
  TimeEncoder(const Model::Impl& model, const UNet& network);
  ~TimeEncoder();

  // [timesteps, UNet::TimeChannels()]; valid until a few others were asked for.
  absl::StatusOr<std::span<const float>> Rows(std::span<const float> timesteps,
                                              const TimeCondition& condition);

  void DropPrograms();

 private:
  struct Time;
  struct Known {
    std::vector<float> timesteps, guidance, added;
    std::vector<float> rows;
  };
  absl::StatusOr<Time*> ProgramFor(int steps);
  std::vector<float> AddedInput(const TimeCondition& condition) const;

  const Model::Impl& model_;
  const UNet& network_;
  std::unique_ptr<Time> time_;  // of the last number of steps
  std::list<Known> known_;      // most recently used first
};

}  // namespace tiltshift::engine
