// What oneDNN 2 and oneDNN 3 spell differently, so that nothing else needs to know which one is here.
#pragma once

#include <dnnl.hpp>

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

// fp32 is fp32, also where there is AMX. oneDNN before 2.5 knows nothing else.
inline void ForbidFasterMath(dnnl::primitive_attr* attributes) {
#if DNNL_VERSION_MAJOR >= 3 || DNNL_VERSION_MINOR >= 5
  attributes->set_fpmath_mode(dnnl::fpmath_mode::strict);
#endif
}

}  // namespace tiltshift::engine::cpu
