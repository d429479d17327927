// Which worker may render what: pure functions over a job's spec and what a worker said of itself.
#pragma once

#include <string>

#include "base/status.h"
#include "proto/job.pb.h"
#include "proto/worker.pb.h"

namespace tiltshift::scheduler {

// What the worker said of the model, by its name or by "*"; null where it said nothing of it.
const v1::ModelInfo* FindModel(const v1::Hello& worker, const std::string& model);

// The render class the worker would render the job in: its own of the model, with the job's LoRAs
// and ControlNets behind it, by their files. Empty: it did not say.
std::string RenderClassOn(const v1::JobSpec& spec, const v1::Hello& worker);

// InvalidArgument, with the field's path, where the spec asks of the model what it can't do: a LoRA
// that was made for another, a picture without the photo it needs, a size it does not render.
absl::Status CheckDemands(const v1::JobSpec& spec, const v1::Hello& worker);

// Why the worker can't be given the job, in half a sentence about the worker ("has no model
// \"x\""); empty: it can. `render_class`: the one a strict job is bound to; empty: none yet.
// A worker that named no models may render anything but a strict job.
std::string WhyNot(const v1::JobSpec& spec, const std::string& render_class,
                   const v1::Hello& worker);

}  // namespace tiltshift::scheduler
