"""Trains the autoencoder on crops of rendered scenes, then on whole pictures.

    python train_autoencoder.py --scenes out/recipe/scenes/train --out out/recipe/autoencoder
"""
import argparse

import torch
import torch.nn.functional as F

from architecture import make_autoencoder
from fast import speed_up
from scene_set import Scenes
from training import train

KL_WEIGHT = 1e-4


def reconstruction_loss(error):
    """L1 at four scales and of the chroma, plus squared error. Flat, saturated areas are few
    pixels of a scene; the coarse scales and the chroma keep them from washing out."""
    loss = error.abs().mean() + 2 * error.square().mean()
    luma = error.mean(1, keepdim=True)
    loss = loss + F.avg_pool2d(error - luma, 2).abs().mean()
    for scale in (2, 4, 8):
        loss = loss + 0.5 * F.avg_pool2d(error, scale).abs().mean()
    return loss


class Task:
    def __init__(self, options, rank):
        del rank
        self.options = options
        self.model = speed_up(make_autoencoder())
        self.scenes = Scenes(options["scenes"])

    def loss(self, generator, done):
        whole = done >= 1 - self.options["whole_share"]
        batch = self.options["batch"]
        x = self.scenes.crops(generator, *((max(1, batch // 4), 256) if whole else (batch, 128)))
        posterior = self.model.encode(x.bfloat16()).latent_dist
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        noise = torch.randn(mean.shape, generator=generator)
        z = mean + noise * (0.5 * logvar).exp()
        y = self.model.decode(z.bfloat16()).sample.float()
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        error = y - x
        loss = reconstruction_loss(error) + KL_WEIGHT * kl
        mse = error.detach().square().mean((1, 2, 3))
        return loss, {"loss": loss.detach(), "psnr": (10 * torch.log10(4 / mse)).mean(),
                      "kl": kl.detach()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", nargs="+", default=["out/recipe/scenes/train"])
    parser.add_argument("--out", default="out/recipe/autoencoder")
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--whole-share", type=float, default=0.15,
                        help="last share of the time spent on whole 256x256 pictures")
    parser.add_argument("--batch", type=int, default=4, help="crops a worker and step")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    args = vars(parser.parse_args())
    train(Task, ema=0.998, decay=0.01, save_s=180, **args)


if __name__ == "__main__":
    main()
