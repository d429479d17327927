#include "engine/cpu/dnnl_step.h"

#include <omp.h>

#include "absl/strings/match.h"
#include "base/check.h"
#include "engine/cpu/dnnl_version.h"

namespace tiltshift::engine::cpu {

dnnl::primitive_attr DnnlStep::Attributes(const dnnl::post_ops& post_ops) {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  ForbidFasterMath(&attributes);
  attributes.set_post_ops(post_ops);
  return attributes;
}

void DnnlStep::SetPrimitive(const dnnl::primitive& primitive, const dnnl::memory::desc& scratch,
                            absl::string_view implementation) {
  primitive_ = primitive;
  scratch_desc_ = scratch;
  // oneDNN's gemm, what it has below AVX-512, cuts long sums into as many parts as there are threads.
  sums_follow_threads_ = absl::StartsWith(implementation, "gemm");
}

void DnnlStep::AddArgument(int argument, dnnl::memory memory) {
  arguments_.push_back({argument, memory.get()});
  memories_.push_back(std::move(memory));
}

dnnl::memory& DnnlStep::AddArgument(int argument, const dnnl::memory::desc& desc, void* data) {
  AddArgument(argument, dnnl::memory(desc, engine_, data));
  return memories_.back();
}

void DnnlStep::AddScratch(const Binder& binder) {
  if (scratch_desc_.get_size() > 0) AddScratchAt(binder.Scratch());
}

void DnnlStep::AddScratchAt(char* scratch) { AddArgument(DNNL_ARG_SCRATCHPAD, scratch_desc_, scratch); }

void DnnlStep::Execute(const dnnl::stream& stream) {
  const int threads = omp_get_max_threads();
  if (sums_follow_threads_) omp_set_num_threads(1);
  const dnnl_status_t status = dnnl_primitive_execute(
      primitive_.get(), stream.get(), static_cast<int>(arguments_.size()), arguments_.data());
  if (sums_follow_threads_) omp_set_num_threads(threads);
  TS_CHECK(status == dnnl_success);
}

}  // namespace tiltshift::engine::cpu
