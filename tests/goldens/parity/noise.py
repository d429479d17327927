"""The engine's noise (engine/philox.h) in numpy: Philox 4x32-10 and Box-Muller, so that both sides of a comparison
start from the same numbers and a stochastic sampler adds the same."""

import numpy as np
import torch

MASK = np.uint64(0xFFFFFFFF)


def philox(counter, key):
    c = [np.asarray(x, np.uint64) for x in counter]
    k = [np.uint64(x) for x in key]
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [p1 >> np.uint64(32) ^ c[1] ^ k[0], p1 & MASK, p0 >> np.uint64(32) ^ c[3] ^ k[1], p0 & MASK]
        k = [(k[0] + np.uint64(0x9E3779B9)) & MASK, (k[1] + np.uint64(0xBB67AE85)) & MASK]
    return c


def normal(seed, stream_step, shape):
    count = int(np.prod(shape))
    block = np.arange((count + 3) // 4, dtype=np.uint64)
    zero = np.zeros_like(block)
    r = philox([block & MASK, block >> np.uint64(32), zero + np.uint64(stream_step), zero], [seed & 0xFFFFFFFF, seed >> 32])
    pairs = []
    for a, b in ((r[0], r[1]), (r[2], r[3])):
        radius = np.sqrt(-2 * np.log((a.astype(np.float64) + 1) / 2.0**32))
        angle = b.astype(np.float64) / 2.0**32 * 2 * np.pi
        pairs += [radius * np.cos(angle), radius * np.sin(angle)]
    return torch.from_numpy(np.stack(pairs, 1).reshape(-1)[:count].astype(np.float32).reshape(shape))


class Streams:
    """Stands in for diffusers' randn_tensor: each call takes the next of `streams`. In a batch each sample has its own
    seed, counted up from the first."""

    def __init__(self, seed, streams):
        self.seed, self.streams = seed, iter(streams)

    def __call__(self, shape, **_):
        stream = next(self.streams)
        return torch.stack([normal(self.seed + i, stream, shape[1:]) for i in range(shape[0])])
