"""What PyTorch reaches on the card at the shapes of kernels/bench: the peer beside scripts/gpu-check.

    python3 bench/peers/torch_gpu.py

bf16: cuBLAS' matrix products, cuDNN's convolutions (channels last, its own choice after a search) and FlashAttention-2 as
scaled_dot_product_attention brings it. One line a case: median microseconds by CUDA events, and TFLOP/s.
"""
import statistics

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

GEMMS = [  # name, m, n, k
    ("square 8192", 8192, 8192, 8192),
    ("sd15 64 project", 8192, 320, 320),
    ("sd15 64 geglu", 8192, 2560, 320),
    ("sd15 64 down", 8192, 320, 1280),
    ("sd15 32 project", 2048, 640, 640),
    ("sd15 32 geglu", 2048, 5120, 640),
    ("sd15 32 down", 2048, 640, 2560),
    ("sd15 16 project", 512, 1280, 1280),
    ("sd15 16 geglu", 512, 10240, 1280),
    ("sd15 16 down", 512, 1280, 5120),
    ("sdxl 64 geglu", 8192, 5120, 640),
    ("sdxl 32 geglu", 2048, 10240, 1280),
    ("sdxl 32 down", 2048, 1280, 5120),
]
CONVS = [  # name, samples, side, channels, out channels
    ("sd15 64 320->320", 2, 64, 320, 320),
    ("sd15 64 640->320", 2, 64, 640, 320),
    ("sd15 32 640->640", 2, 32, 640, 640),
    ("sd15 16 1280->1280", 2, 16, 1280, 1280),
    ("sd15 8 1280->1280", 2, 8, 1280, 1280),
    ("sdxl 128 320->320", 2, 128, 320, 320),
    ("sdxl 64 640->640", 2, 64, 640, 640),
    ("sdxl 32 1280->1280", 2, 32, 1280, 1280),
    ("vae 64 512->512", 1, 64, 512, 512),
    ("vae 256 256->256", 1, 256, 256, 256),
    ("vae 512 128->128", 1, 512, 128, 128),
]
ATTENTIONS = [  # name, samples, heads, queries, keys, head dim
    ("sd15 64 self", 2, 8, 4096, 4096, 40),
    ("sd15 32 self", 2, 8, 1024, 1024, 80),
    ("sd15 16 self", 2, 8, 256, 256, 160),
    ("sd15 64 cross", 2, 8, 4096, 77, 40),
    ("sd15 32 cross", 2, 8, 1024, 77, 80),
    ("sdxl 64 self", 2, 10, 4096, 4096, 64),
    ("sdxl 32 self", 2, 20, 1024, 1024, 64),
    ("sdxl 64 cross", 2, 10, 4096, 77, 64),
    ("sd15 64 self", 16, 8, 4096, 4096, 40),
    ("sdxl 64 self", 16, 10, 4096, 4096, 64),
]


def microseconds(run, repeats=20, rounds=7):
    for _ in range(3):
        run()
    times = []
    for _ in range(rounds):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        for _ in range(repeats):
            run()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 1000 / repeats)
    return statistics.median(times)


def report(name, flops, run):
    try:
        us = microseconds(run)
    except RuntimeError as error:
        print(f"  {name:28s} not run: {str(error).splitlines()[0]}")
        return
    print(f"  {name:28s} {us:9.1f} us {flops / us * 1e-6:7.0f} TFLOP/s")


def random(*shape):
    return torch.randn(*shape, device="cuda", dtype=torch.bfloat16)


@torch.inference_mode()
def main():
    torch.backends.cudnn.benchmark = True
    print(torch.__version__, torch.cuda.get_device_name())
    print("matrix products (cuBLAS)")
    for name, m, n, k in GEMMS:
        x, w = random(m, k), random(n, k)
        report(name, 2.0 * m * n * k, lambda: F.linear(x, w))
    print("convolutions 3x3, channels last (cuDNN)")
    for name, samples, side, channels, out in CONVS:
        x = random(samples, channels, side, side).to(memory_format=torch.channels_last)
        w = random(out, channels, 3, 3).to(memory_format=torch.channels_last)
        report(name, 2.0 * samples * side * side * channels * out * 9, lambda: F.conv2d(x, w, padding=1))
    print("attention, two products' FLOPs (FlashAttention-2)")
    for name, samples, heads, queries, keys, dim in ATTENTIONS:
        q = random(samples, queries, heads, dim).transpose(1, 2)
        k = random(samples, keys, heads, dim).transpose(1, 2)
        v = random(samples, keys, heads, dim).transpose(1, 2)
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            report(f"{name} x{samples} d={dim}", 4.0 * samples * heads * queries * keys * dim,
                   lambda: F.scaled_dot_product_attention(q, k, v))


if __name__ == "__main__":
    main()
