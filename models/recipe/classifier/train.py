"""Trains the classifier on rendered scenes only, and says how well it does on held-out ones.

    python classifier/train.py --scenes out/recipe/scenes/train \
        --heldout out/recipe/scenes/heldout --out out/recipe/classifier
"""
import argparse
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import captions
from classifier.network import HEADS, Classifier, halve
from fast import speed_up
from scene_set import Scenes, to_float
from training import SharedState, train


def load(run):
    model = Classifier()
    state = SharedState(model, 1)
    state.load(pathlib.Path(run) / "checkpoint.pt")
    return state.into(model).eval()


def accuracy(model, scenes):
    """Share of scenes named right, for each head."""
    right = torch.zeros(len(HEADS))
    with torch.no_grad():
        for start in range(0, len(scenes), 50):
            index = range(start, min(start + 50, len(scenes)))
            x = halve(to_float(np.stack([scenes.picture(i) for i in index])))
            truth = torch.tensor([captions.labels(scenes.captions[i]) for i in index])
            right += torch.stack([(logits.argmax(1) == truth[:, k]).float().sum()
                                  for k, logits in enumerate(model(x))])
    return dict(zip(HEADS, (right / len(scenes)).tolist()))


class Task:
    def __init__(self, options, rank):
        del rank
        self.batch = options["batch"]
        self.scenes = Scenes(options["scenes"])
        self.labels = torch.tensor([captions.labels(c) for c in self.scenes.captions])
        self.model = speed_up(Classifier())

    def loss(self, generator, done):
        del done
        index = torch.randint(len(self.scenes), (self.batch,), generator=generator)
        x = to_float(np.stack([self.scenes.picture(int(i)) for i in index]))
        x = self._disturb(halve(x), generator)
        logits = self.model(x.bfloat16())
        truth = self.labels[index]
        losses = [F.cross_entropy(l.float(), truth[:, k]) for k, l in enumerate(logits)]
        right = {name: (l.argmax(1) == truth[:, k]).float().mean()
                 for k, (name, l) in enumerate(zip(HEADS, logits))}
        return sum(losses), {"loss": sum(losses).detach(), **right}

    @staticmethod
    def _disturb(x, generator):
        """Mirrors, moves, blurs and dusts: what is judged is the scene, not its pixels."""
        draw = lambda *size: torch.rand(*size, generator=generator)
        flip = draw(len(x)) < 0.5
        x = torch.where(flip.view(-1, 1, 1, 1), x.flip(3), x)
        dy, dx = (int(v) for v in torch.randint(-6, 7, (2,), generator=generator))
        x = F.pad(x, (6, 6, 6, 6), mode="replicate")[:, :, 6 + dy:134 + dy, 6 + dx:134 + dx]
        blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        x = torch.lerp(x, blurred, draw(len(x), 1, 1, 1))
        x = x + torch.randn(x.shape, generator=generator) * 0.05 * draw(len(x), 1, 1, 1)
        return x.contiguous(memory_format=torch.channels_last)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", nargs="+", default=["out/recipe/scenes/train"])
    parser.add_argument("--heldout", nargs="+", default=["out/recipe/scenes/heldout"])
    parser.add_argument("--out", default="out/recipe/classifier")
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--batch", type=int, default=32, help="pictures a worker and step")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=3)
    args = vars(parser.parse_args())
    heldout = Scenes(args.pop("heldout"))
    train(Task, ema=0.99, decay=0.01, save_s=60, **args)
    for name, value in accuracy(load(args["out"]), heldout).items():
        print(f"held-out {name}: {value:.4f} of {len(heldout)} scenes")


if __name__ == "__main__":
    main()
