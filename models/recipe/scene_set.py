"""Reads what the scene renderer wrote: PREFIX.rgb (raw RGB, 256x256) and PREFIX.txt (captions)."""
import pathlib

import numpy as np
import torch

SIZE = 256


class Scenes:
    """Pictures are memory-mapped: opening costs nothing, and several processes share the pages."""

    def __init__(self, prefixes):
        self.parts, self.captions = [], []
        for prefix in prefixes:
            raw = np.memmap(f"{prefix}.rgb", dtype=np.uint8, mode="r").reshape(-1, SIZE, SIZE, 3)
            captions = pathlib.Path(f"{prefix}.txt").read_text().splitlines()
            if len(raw) != len(captions):
                raise ValueError(f"{prefix}: {len(raw)} pictures but {len(captions)} captions; "
                                 "render the set again")
            self.parts.append(raw)
            self.captions += captions
        self.starts = np.cumsum([0] + [len(p) for p in self.parts])

    def __len__(self):
        return len(self.captions)

    def picture(self, index):
        part = int(np.searchsorted(self.starts, index, side="right")) - 1
        return self.parts[part][index - self.starts[part]]

    def crops(self, generator, count, size):
        """`count` random crops, half of them mirrored, as float NCHW channels-last in -1..1."""
        out = np.empty((count, size, size, 3), np.uint8)
        draw = lambda n: int(torch.randint(n, (1,), generator=generator))
        for k in range(count):
            picture = self.picture(draw(len(self)))
            y, x = draw(SIZE - size + 1), draw(SIZE - size + 1)
            crop = picture[y:y + size, x:x + size]
            out[k] = crop[:, ::-1] if draw(2) else crop
        return to_float(out)


def to_float(pictures):
    x = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return x.contiguous(memory_format=torch.channels_last)


def to_bytes(x):
    """Float NCHW in -1..1 to uint8 NHWC."""
    x = (x.float().clamp(-1, 1) * 127.5 + 127.5).round()
    return x.permute(0, 2, 3, 1).to(torch.uint8).numpy()
