"""The kernels' device code through CUDA 12's compiler, which PyPI has only as a library (NVRTC: nvcc's front end for the
card and ptxas, without its half for the host).

    python3 -m venv /tmp/cuda12 && /tmp/cuda12/bin/pip install nvidia-cuda-{nvrtc,runtime,cccl}-cu12
    /tmp/cuda12/bin/python bench/peers/nvrtc_check.py [SOURCE ...]       # names of kernels/*.cu; without any, all

For each source and architecture: kernels, registers, and whether any of them spills or has a stack. Exits 1 where one
does or does not compile. What the sources need of the standard library is taken from libcu++, and a launch is a function
that does nothing: it makes the compiler instantiate the kernel.
"""
import ctypes
import glob
import os
import re
import sys
import sysconfig

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NVIDIA = os.path.join(sysconfig.get_paths()["purelib"], "nvidia")
ARCHITECTURES = ("sm_80", "sm_90", "sm_120")

INTEGERS = "".join(f"using cuda::std::{kind};" for kind in (
    "int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t uintptr_t").split())
HEADERS = {
    "cstdint": "#include <cuda/std/cstdint>\n" + INTEGERS + "namespace std { using namespace cuda::std; }",
    "cmath": "#include <cstdint>\n#include <cuda/std/cmath>\n#include <cuda/std/limits>",
    "type_traits": "#include <cstdint>\n#include <cuda/std/type_traits>\n#include <cuda/std/utility>",
    "algorithm": "#include <cstdint>\n#include <cuda/std/__algorithm/min.h>\n#include <cuda/std/__algorithm/max.h>",
    "numeric": "#include <cstdint>\n#include <cuda/std/numeric>",
    "cstring": "#include <cstdint>",
    "string": "#include <cstdint>",
    "cuda_runtime.h": "#include <driver_types.h>\n#define INFINITY __int_as_float(0x7f800000)",
    "kernels/launch.h": """
#include "kernels/device.h"
#include "kernels/runtime.h"
namespace tiltshift::kernels {
struct Dim { unsigned x = 1, y = 1, z = 1; };
struct LaunchShape { Dim grid, block; size_t shared_bytes = 0; };
template <class F> struct ArgumentOf;
template <class A> struct ArgumentOf<void (*)(A)> { using Type = A; };
template <auto kKernel>
cudaError_t Launch(cudaStream_t, const LaunchShape&, const typename ArgumentOf<decltype(kKernel)>::Type&) {
  return kKernel != nullptr ? cudaSuccess : cudaErrorInvalidValue;
}
}""",
}
OPTIONS = ["-std=c++20", "-default-device", "-DTILTSHIFT_BF16_ONLY", "--ptxas-options=-v", "-I" + ROOT,
           "-I" + NVIDIA + "/cuda_cccl/include", "-I" + NVIDIA + "/cuda_runtime/include"]


def c_strings(texts):
    return (ctypes.c_char_p * len(texts))(*[text.encode() for text in texts])


def compile_source(nvrtc, path, architecture):
    """(whether it compiled, what the compiler said)."""
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    with open(path, encoding="utf-8") as source:
        text = source.read().encode()
    headers = {name: "#pragma once\n" + text for name, text in HEADERS.items()}
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), text, path.encode(), len(headers),
                             c_strings(list(headers.values())), c_strings(list(headers)))
    options = OPTIONS + ["-arch=" + architecture]
    failed = nvrtc.nvrtcCompileProgram(program, len(options), c_strings(options))
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return failed == 0, log.value.decode()


def main(names):
    nvrtc = ctypes.CDLL(glob.glob(NVIDIA + "/cuda_nvrtc/lib/libnvrtc.so.*")[0])
    major, minor = ctypes.c_int(), ctypes.c_int()
    nvrtc.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    print(f"NVRTC {major.value}.{minor.value}")
    paths = [os.path.join(ROOT, "kernels", name + ".cu") for name in names] or sorted(glob.glob(ROOT + "/kernels/*.cu"))
    bad = 0
    for path in paths:
        for architecture in ARCHITECTURES:
            compiled, log = compile_source(nvrtc, path, architecture)
            kernels = log.count("bytes stack frame")
            clean = log.count("0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads")
            well = compiled and kernels > 0 and clean == kernels
            bad += not well
            registers = sorted({int(count) for count in re.findall(r"Used (\d+) registers", log)})
            print(f"{os.path.basename(path)} {architecture}: {kernels} kernels, {clean} without stack or spills, registers "
                  f"{registers[:1]} to {registers[-1:]}" if compiled else f"{path} {architecture}: {log[:2000]}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
