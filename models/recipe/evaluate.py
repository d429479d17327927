"""Measures the exported model: does a picture show what its prompt asked for?

    python evaluate.py --model models/diorama --classifier out/recipe/classifier \
        --heldout out/recipe/scenes/heldout --out out/recipe/evaluation

Renders 240 pictures with diffusers itself (every subject in every colour, bases and backgrounds
in turn, DPM++ 2M, 20 steps), asks the classifier, and writes the pictures, report.json and a
sheet. The autoencoder's PSNR on held-out scenes is reported as well.
"""
import argparse
import json
import pathlib

import numpy as np
import torch
import torch.multiprocessing as mp
from diffusers import AutoencoderKL, StableDiffusionPipeline
from PIL import Image

import captions
from classifier.network import HEADS, halve
from classifier.train import accuracy, load
from scene_set import Scenes, to_bytes, to_float


def prompts(count):
    """(prompt, labels): subjects and colours in rows of 72, the rest in turn."""
    result = []
    for i in range(count):
        subject, colour = divmod(i % 72, 9)
        background, base = (i + i // 72) % 5, (i // 2) % 3
        text = (f"a miniature {captions.COLOURS[colour]} {captions.SUBJECTS[subject]} on a "
                f"{captions.BASES[base]}, {captions.BACKGROUNDS[background]} background")
        result.append((text, (subject, colour, background)))
    return result


def render(rank, args, texts, pictures):
    """One worker's share; picture i starts from the noise of seed i, whoever draws it."""
    torch.set_num_threads(1)
    pipeline = StableDiffusionPipeline.from_pretrained(args.model, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    for start in range(rank * args.batch, len(texts), args.workers * args.batch):
        part = range(start, min(start + args.batch, len(texts)))
        latents = torch.cat([torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(i))
                             for i in part])
        with torch.autocast("cpu", torch.bfloat16):
            images = pipeline([texts[i] for i in part], num_inference_steps=args.steps,
                              guidance_scale=args.guidance, latents=latents,
                              output_type="np").images
        pictures[start:start + len(part)] = torch.from_numpy((images * 255).round()).byte()


def render_all(args, texts):
    """uint8 [N, 256, 256, 3]"""
    pictures = torch.zeros(len(texts), 256, 256, 3, dtype=torch.uint8).share_memory_()
    mp.start_processes(render, (args, texts, pictures), nprocs=args.workers, start_method="fork")
    return pictures.numpy()


def psnr(autoencoder, scenes, count):
    total = 0.0
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for i in range(count):
            x = to_float(scenes.picture(i)[None])
            y = autoencoder.decode(autoencoder.encode(x).latent_dist.mean).sample
            error = to_bytes(x).astype(np.float64) - to_bytes(y)
            total += 10 * np.log10(255**2 / np.square(error).mean())
    return total / count


def sheet(pictures, columns, path):
    rows = -(-len(pictures) // columns)
    size = pictures.shape[1]
    canvas = np.full((rows * size, columns * size, 3), 255, np.uint8)
    for i, picture in enumerate(pictures):
        y, x = divmod(i, columns)
        canvas[y * size:(y + 1) * size, x * size:(x + 1) * size] = picture
    Image.fromarray(canvas).save(path, optimize=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="models/diorama")
    parser.add_argument("--classifier", default="out/recipe/classifier")
    parser.add_argument("--heldout", nargs="+", default=["out/recipe/scenes/heldout"])
    parser.add_argument("--out", default="out/recipe/evaluation")
    parser.add_argument("--count", type=int, default=240)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(1)
    out = pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)

    asked = prompts(args.count)
    pictures = render_all(args, [text for text, _ in asked])
    np.save(out / "pictures.npy", pictures)
    sheet(np.stack([Image.fromarray(p).resize((96, 96), Image.Resampling.LANCZOS)
                    for p in pictures[:72]]), 9, out / "sheet.png")

    classifier = load(args.classifier)
    with torch.no_grad():
        logits = classifier(halve(to_float(pictures)))
    heldout = Scenes(args.heldout)
    autoencoder = AutoencoderKL.from_pretrained(args.model, subfolder="vae").float()
    reference = accuracy(classifier, heldout)
    report = {"psnr_of_autoencoder": round(psnr(autoencoder, heldout, 100), 2)}
    for k, (name, words) in enumerate(HEADS.items()):
        said = logits[k].argmax(1).tolist()
        right = sum(s == labels[k] for s, (_, labels) in zip(said, asked)) / len(asked)
        report[name] = {"generated": round(right, 4), "held_out": round(reference[name], 4),
                        "ratio": round(right / reference[name], 4)}
        report[name]["mistakes"] = [
            f"{i}: {text} -> {words[s]}"
            for i, (s, (text, labels)) in enumerate(zip(said, asked)) if s != labels[k]]
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    for name in HEADS:
        print(name, {k: v for k, v in report[name].items() if k != "mistakes"})
    print("autoencoder PSNR on held-out scenes:", report["psnr_of_autoencoder"], "dB")


if __name__ == "__main__":
    main()
