// What convolutions and matrix products share: a oneDNN primitive, its memory objects, and its
// arguments in the C form, so that running one builds nothing.
#pragma once

#include <vector>

#include "absl/strings/string_view.h"
#include "engine/cpu/step.h"

namespace tiltshift::engine::cpu {

class DnnlStep : public Step {
 public:
  size_t scratch_bytes() const override { return scratch_desc_.get_size(); }

 protected:
  explicit DnnlStep(const Setting& setting) : engine_(setting.engine) {}

  static dnnl::primitive_attr Attributes(const dnnl::post_ops& post_ops);
  void SetPrimitive(const dnnl::primitive& primitive, const dnnl::memory::desc& scratch,
                    absl::string_view implementation);
  // The memory is kept; the pointer may be set later.
  dnnl::memory& AddArgument(int argument, const dnnl::memory::desc& desc, void* data);
  void AddArgument(int argument, dnnl::memory memory);
  void AddScratch(const Binder& binder);
  void AddScratchAt(char* scratch);
  void Execute(const dnnl::stream& stream);

  dnnl::engine engine_;

 private:
  dnnl::primitive primitive_;
  dnnl::memory::desc scratch_desc_;
  bool sums_follow_threads_ = false;
  std::vector<dnnl::memory> memories_;
  std::vector<dnnl_exec_arg_t> arguments_;
};

}  // namespace tiltshift::engine::cpu
