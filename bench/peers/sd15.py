"""Seconds a UNet forward and a VAE decode of Stable Diffusion 1.5's shapes take elsewhere, with random weights.

    python bench/peers/sd15.py torch bf16 [threads] [size] [runs]      # needs torch and diffusers
    python bench/peers/sd15.py openvino bf16                           # and openvino

Prints a line a figure, the best of the runs, as soon as it has it: "torch 2.15.0 bf16 forward 0.512"; before that what
it does, "torch: random weights". engine_bench starts it by itself.
"""
import sys
import time

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel


def networks():
    with torch.device("meta"):  # no time goes into initial weights that nobody uses
        unet, vae = empty_networks()
    for network in (unet, vae):
        network.to_empty(device="cpu")
        for tensor in [*network.parameters(), *network.buffers()]:
            if tensor.is_floating_point():
                tensor.data.uniform_(-0.02, 0.02)
    return unet.eval(), vae.eval()


def empty_networks():
    unet = UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8)
    vae = AutoencoderKL(block_out_channels=[128, 256, 512, 512], layers_per_block=2,
                        down_block_types=["DownEncoderBlock2D"] * 4,
                        up_block_types=["UpDecoderBlock2D"] * 4)
    return unet, vae


class Unet(torch.nn.Module):
    def __init__(self, unet):
        super().__init__()
        self.unet = unet

    def forward(self, latent, timestep, context):
        return self.unet(latent, timestep, context, return_dict=False)[0]


class Decoder(torch.nn.Module):
    def __init__(self, vae):
        super().__init__()
        self.vae = vae

    def forward(self, latent):
        return self.vae.decode(latent, return_dict=False)[0]


def say(*words):
    print(*words, flush=True)


def best(run, runs):
    run()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main():
    peer, precision = sys.argv[1], sys.argv[2]
    threads = int(sys.argv[3]) if len(sys.argv) > 3 else 2
    side = (int(sys.argv[4]) if len(sys.argv) > 4 else 512) // 8
    runs = int(sys.argv[5]) if len(sys.argv) > 5 else 4
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    say(f"{peer}: random weights")
    unet, vae = networks()
    latent = torch.randn(1, 4, side, side)
    context = torch.randn(1, 77, 768)
    timestep = torch.tensor(500)
    if peer == "torch":
        dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]
        kwargs = dict(memory_format=torch.channels_last)
        unet, vae = unet.to(dtype).to(**kwargs), vae.to(dtype).to(**kwargs)
        latent, context = latent.to(dtype).to(**kwargs), context.to(dtype)
        name = f"torch {torch.__version__} {precision}"
        with torch.inference_mode():
            say(name, f"forward {best(lambda: unet(latent, timestep, context), runs):.3f}")
            say(name, f"decode {best(lambda: vae.decode(latent), (runs + 1) // 2):.3f}")
    else:
        import openvino
        core = openvino.Core()
        options = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1,
                   "INFERENCE_PRECISION_HINT": {"bf16": "bf16", "fp32": "f32"}[precision]}

        def compiled(network, inputs):
            with torch.no_grad():
                return core.compile_model(openvino.convert_model(network, example_input=inputs), "CPU", options)

        name = f"openvino {openvino.__version__} {precision}"
        say("openvino: converting and compiling the UNet")
        run_unet = compiled(Unet(unet), (latent, timestep, context))
        inputs = [latent.numpy(), timestep.numpy(), context.numpy()]
        say(name, f"forward {best(lambda: run_unet(inputs), runs):.3f}")
        say("openvino: converting and compiling the decoder")
        run_vae = compiled(Decoder(vae), (latent,))
        say(name, f"decode {best(lambda: run_vae([latent.numpy()]), (runs + 1) // 2):.3f}")


main()
