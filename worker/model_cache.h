// The models in a worker's memory, shared by its slots: each with the set of LoRAs that is merged
// into it, and the ControlNets beside it.
//
// A model without LoRAs and ControlNets stays. Of those with some, which cost the memory of another
// model each, the ones that no slot renders with go again when others have come: the last kSetsKept
// used stay.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/status.h"
#include "engine/renderer.h"
#include "proto/job.pb.h"
#include "worker/variant_renderer.h"

namespace tiltshift::worker {

class ModelCache {
 public:
  static constexpr size_t kSetsKept = 2;

  explicit ModelCache(EngineOptions options) : options_(std::move(options)) {}

  // The model of a plan's spec, loaded where it is not there; others wait meanwhile. One that
  // failed to load is tried again at the next variant that asks for it. Errors say which model or
  // LoRA.
  absl::StatusOr<std::shared_ptr<const engine::Model>> Get(const v1::JobSpec& spec);

  // As plan::ModelVariant calls them; any thread, and never waits for a model that is being loaded.
  std::vector<std::string> Loaded() const;

  const EngineOptions& options() const { return options_; }

 private:
  struct Entry {
    std::string name;
    engine::Precision precision;
    bool has_set;
    std::shared_ptr<const engine::Model> model;
  };
  absl::StatusOr<std::shared_ptr<const engine::Model>> Load(const v1::JobSpec& spec,
                                                            engine::Precision precision) const;
  void DropUnused();
  void Publish();

  const EngineOptions options_;
  std::mutex mutex_;
  std::list<Entry> entries_;        // the last used first
  mutable std::mutex names_mutex_;  // never held for long
  std::vector<std::string> names_;
};

}  // namespace tiltshift::worker
