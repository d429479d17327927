"""Encodes every scene once: the diffusion model trains on these latents.

    python encode_latents.py --scenes out/recipe/scenes/train --autoencoder out/recipe/autoencoder

Writes latents.npy, float16 [M, N, 4, 32, 32] (posterior means times the scaling factor), and
scaling_factor.json into the autoencoder's run folder. M is 1, or 2 with --mirror, which adds the
mirror images (no word of the grammar says left or right) and takes twice as long.
"""
import argparse
import json
import pathlib

import numpy as np
import torch
import torch.multiprocessing as mp

from export import load_autoencoder
from fast import speed_up
from scene_set import Scenes, to_float


def encode(rank, workers, args, latents):
    torch.set_num_threads(1)
    model = speed_up(load_autoencoder(args.autoencoder)).to(torch.bfloat16)
    scenes = Scenes(args.scenes)
    batch = 8
    with torch.no_grad():
        count = latents.shape[1]
        for start in range(rank * batch, count, workers * batch):
            pictures = np.stack([scenes.picture(i)
                                 for i in range(start, min(start + batch, count))])
            for mirrored in range(len(latents)):
                x = to_float(pictures[:, :, ::-1] if mirrored else pictures)
                mean = model.encode(x.bfloat16()).latent_dist.mean
                latents[mirrored, start:start + len(pictures)] = mean.half()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", nargs="+", default=["out/recipe/scenes/train"])
    parser.add_argument("--autoencoder", default="out/recipe/autoencoder")
    parser.add_argument("--count", type=int, help="only the first COUNT scenes")
    parser.add_argument("--mirror", action="store_true")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    run = pathlib.Path(args.autoencoder)
    (run / "scaling_factor.json").unlink(missing_ok=True)
    count = min(args.count or len(Scenes(args.scenes)), len(Scenes(args.scenes)))
    latents = torch.zeros(1 + args.mirror, count, 4, 32, 32, dtype=torch.float16)
    latents.share_memory_()
    mp.start_processes(encode, (args.workers, args, latents), nprocs=args.workers,
                       start_method="fork")
    values = latents.float()
    scale = round(float(1 / values.std()), 5)
    print(f"mean by channel {values.mean((0, 1, 3, 4)).tolist()}, "
          f"std by channel {values.std((0, 1, 3, 4)).tolist()}, scaling_factor {scale}")
    np.save(run / "latents.npy", (values * scale).half().numpy())
    (run / "scaling_factor.json").write_text(json.dumps(scale) + "\n")


if __name__ == "__main__":
    main()
