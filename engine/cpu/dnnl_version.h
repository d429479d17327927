// What oneDNN 2 and oneDNN 3 spell differently, so that nothing else needs to know which one is here.
#pragma once

#include <dnnl.hpp>
#include <string>
#include <vector>

namespace tiltshift::engine::cpu {

// Primitive::primitive_desc for `arguments`, given in the order that both versions share.
template <typename Primitive, typename... Arguments>
typename Primitive::primitive_desc PlanOf(const dnnl::engine& engine, const dnnl::primitive_attr& attributes,
                                          const Arguments&... arguments) {
#if DNNL_VERSION_MAJOR >= 3
  return typename Primitive::primitive_desc(engine, arguments..., attributes);
#else
  return typename Primitive::primitive_desc(typename Primitive::desc(arguments...), attributes, engine);
#endif
}

inline void AppendEltwise(dnnl::algorithm algorithm, float alpha, float beta, dnnl::post_ops* post_ops) {
#if DNNL_VERSION_MAJOR >= 3
  post_ops->append_eltwise(algorithm, alpha, beta);
#else
  post_ops->append_eltwise(1, algorithm, alpha, beta);
#endif
}

// Says of plain and blocked layouts all that decides where an element lies; empty for any other.
inline std::string LayoutName(const dnnl::memory::desc& desc) {
  std::string name;
  const auto add = [&](const auto& numbers) {
    name += '|';
    for (const auto number : numbers) name += std::to_string(number) + ',';
  };
#if DNNL_VERSION_MAJOR >= 3
  if (desc.get_format_kind() != dnnl::memory::format_kind::blocked) return "";
  name = std::to_string(static_cast<int>(desc.get_data_type())) + "+" + std::to_string(desc.get_submemory_offset());
  add(desc.get_dims());
  add(desc.get_padded_dims());
  add(desc.get_padded_offsets());
  add(desc.get_strides());
  add(desc.get_inner_blks());
  add(desc.get_inner_idxs());
#else
  const dnnl_memory_desc_t& all = desc.data;
  const dnnl_blocking_desc_t& blocks = all.format_desc.blocking;
  if (all.format_kind != dnnl_blocked || all.extra.flags != dnnl_memory_extra_flag_none) return "";
  name = std::to_string(all.data_type) + "+" + std::to_string(all.offset0);
  const auto row = [&](const auto* numbers, int count) { add(std::vector<dnnl_dim_t>(numbers, numbers + count)); };
  row(all.dims, all.ndims);
  row(all.padded_dims, all.ndims);
  row(all.padded_offsets, all.ndims);
  row(blocks.strides, all.ndims);
  row(blocks.inner_blks, blocks.inner_nblks);
  row(blocks.inner_idxs, blocks.inner_nblks);
#endif
  return name;
}

// fp32 is fp32, also where there is AMX. oneDNN before 2.5 knows nothing else.
inline void ForbidFasterMath(dnnl::primitive_attr* attributes) {
#if DNNL_VERSION_MAJOR >= 3 || DNNL_VERSION_MINOR >= 5
  attributes->set_fpmath_mode(dnnl::fpmath_mode::strict);
#endif
}

}  // namespace tiltshift::engine::cpu
