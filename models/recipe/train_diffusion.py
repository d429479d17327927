"""Trains UNet and text encoder together, from scratch, on the latents of encode_latents.py.

    python train_diffusion.py --scenes out/recipe/scenes/train \
        --latents out/recipe/autoencoder/latents.npy --out out/recipe/diffusion

v-prediction; captions varied, one in ten left empty for classifier-free guidance. Min-SNR
weighting (gamma 5) in the form (min(SNR, gamma) + 1) / (SNR + 1): one for the noisy steps, where
subject, colour and layout are decided, and falling where only fine noise is left.
"""
import argparse
import random
import tempfile

import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor
from transformers import CLIPTokenizer

import architecture
import build_tokenizer
import captions
from fast import speed_up
from scene_set import Scenes
from training import train

EMPTY_SHARE = 0.1
GAMMA = 5.0


class Task:
    def __init__(self, options, rank):
        del rank
        self.batch = options["batch"]
        self.scenes = [captions.parse(c) for c in Scenes(options["scenes"]).captions]
        self.latents = np.load(options["latents"], mmap_mode="r")
        self.scenes = self.scenes[:self.latents.shape[1]]
        with tempfile.TemporaryDirectory() as folder:
            build_tokenizer.build(folder)
            self.tokenizer = CLIPTokenizer.from_pretrained(folder)
        self.tokens = {}
        self.model = torch.nn.ModuleDict({
            "unet": speed_up(architecture.make_unet()),
            "text_encoder": architecture.make_text_encoder(self.tokenizer)})
        # the explicit products: their backward is several times faster here than the fused one's
        self.model["unet"].set_attn_processor(AttnProcessor())
        self.model["text_encoder"].set_attn_implementation("eager")
        self.alphas = architecture.make_sampler().alphas_cumprod.double()

    def tokenize(self, caption):
        """Token ids of whole words are kept: captions differ, their words do not."""
        ids = [self.tokenizer.bos_token_id]
        for word in caption.replace(",", " ,").split():
            if word not in self.tokens:
                self.tokens[word] = self.tokenizer(word, add_special_tokens=False).input_ids
            ids += self.tokens[word]
        return ids + [self.tokenizer.eos_token_id] * (77 - len(ids))

    def loss(self, generator, done):
        del done
        n = self.batch
        rng = random.Random(int(torch.randint(2**31, (1,), generator=generator)))
        index = [rng.randrange(len(self.scenes)) for _ in range(n)]
        copies = len(self.latents)
        x = np.stack([self.latents[rng.randrange(copies), i] for i in index])
        x = torch.from_numpy(x).float()
        texts = ["" if rng.random() < EMPTY_SHARE else captions.vary(self.scenes[i], rng)
                 for i in index]
        ids = torch.tensor([self.tokenize(t) for t in texts])
        # stratified timesteps: every step sees the whole range
        t = ((torch.arange(n) + torch.rand(n, generator=generator)) * 1000 / n).long()
        alpha = self.alphas[t]
        a, s = alpha.sqrt().float().view(-1, 1, 1, 1), (1 - alpha).sqrt().float().view(-1, 1, 1, 1)
        noise = torch.randn(x.shape, generator=generator)
        noisy = (a * x + s * noise).bfloat16().contiguous(memory_format=torch.channels_last)
        text = self.model["text_encoder"](ids).last_hidden_state
        v = self.model["unet"](noisy, t, text).sample.float()
        error = (v - (a * noise - s * x)).square().mean((1, 2, 3))
        snr = alpha / (1 - alpha)
        weight = ((snr.clamp(max=GAMMA) + 1) / (snr + 1)).float()
        loss = (weight * error).mean() / weight.mean()
        return loss, {"loss": loss.detach(), "v_mse": error.detach().mean()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", nargs="+", default=["out/recipe/scenes/train"])
    parser.add_argument("--latents", default="out/recipe/autoencoder/latents.npy")
    parser.add_argument("--out", default="out/recipe/diffusion")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--batch", type=int, default=16, help="samples a worker and step")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=2)
    args = vars(parser.parse_args())
    train(Task, ema=0.998, decay=0.02, save_s=180, **args)


if __name__ == "__main__":
    main()
