"""A small convolutional network that says what a picture shows: subject, colour, background."""
import torch
import torch.nn.functional as F

import captions

HEADS = {"subject": captions.SUBJECTS, "colour": captions.COLOURS,
         "background": captions.BACKGROUNDS}


def _layer(inputs, outputs, stride):
    return torch.nn.Sequential(
        torch.nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        torch.nn.GroupNorm(8, outputs), torch.nn.SiLU())


class Classifier(torch.nn.Module):
    """Takes [N, 3, 128, 128] in -1..1, gives three rows of logits."""

    def __init__(self):
        super().__init__()
        self.body = torch.nn.Sequential(
            _layer(3, 32, 2), _layer(32, 64, 2), _layer(64, 96, 2), _layer(96, 96, 1),
            _layer(96, 128, 2), _layer(128, 128, 1))
        self.heads = torch.nn.ModuleDict({
            k: torch.nn.Linear(128 * 16, len(v)) for k, v in HEADS.items()})

    def forward(self, x):
        h = F.adaptive_avg_pool2d(self.body(x), 4).flatten(1)
        return [head(h) for head in self.heads.values()]


def halve(pictures):
    """[N, 3, 256, 256] to the size the classifier looks at."""
    return F.avg_pool2d(pictures, 2).contiguous(memory_format=torch.channels_last)
