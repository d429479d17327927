"""Writes the trained weights as a diffusers pipeline directory in fp16.

    python export.py --autoencoder out/recipe/autoencoder --diffusion out/recipe/diffusion \
        --out models/diorama
"""
import argparse
import json
import pathlib

import diffusers
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer

import architecture
import build_tokenizer
from training import SharedState


def load_autoencoder(run):
    """The EMA weights of a run of train_autoencoder.py, with the latents' scale in the config."""
    model = architecture.make_autoencoder().to(memory_format=torch.channels_last)
    if run:
        state = SharedState(model, 1)
        state.load(pathlib.Path(run) / "checkpoint.pt")
        state.into(model)
        scale = pathlib.Path(run) / "scaling_factor.json"
        if scale.exists():
            model.register_to_config(scaling_factor=json.loads(scale.read_text()))
    return model.eval()


def load_diffusion(run, tokenizer):
    """UNet and text encoder, EMA weights of a run of train_diffusion.py."""
    both = torch.nn.ModuleDict({"unet": architecture.make_unet(),
                                "text_encoder": architecture.make_text_encoder(tokenizer)})
    both = both.to(memory_format=torch.channels_last)
    if run:
        state = SharedState(both, 1)
        state.load(pathlib.Path(run) / "checkpoint.pt")
        state.into(both)
    return both["unet"].eval(), both["text_encoder"].eval()


def load_pipeline(autoencoder_run, diffusion_run, tokenizer_dir):
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_dir)
    unet, text_encoder = load_diffusion(diffusion_run, tokenizer)
    return StableDiffusionPipeline(
        vae=load_autoencoder(autoencoder_run), text_encoder=text_encoder, tokenizer=tokenizer,
        unet=unet, scheduler=architecture.make_sampler(), safety_checker=None,
        feature_extractor=None, requires_safety_checker=False)


def tidy(out):
    """Brings what save_pretrained wrote to the form published Stable Diffusion models have."""
    (out / "tokenizer" / "tokenizer.json").unlink(missing_ok=True)  # vocab and merges say it all
    build_tokenizer.build(out / "tokenizer")
    weights = out / "text_encoder" / "model.safetensors"
    tensors = {k if k.startswith("text_model.") else f"text_model.{k}": v
               for k, v in load_file(weights).items()}
    save_file(tensors, weights, metadata={"format": "pt"})
    sampler = {"_class_name": "DPMSolverMultistepScheduler",
               "_diffusers_version": diffusers.__version__, **architecture.SAMPLER,
               "clip_sample": False}  # for DDIM, which clips unless told not to
    (out / "scheduler" / "scheduler_config.json").write_text(json.dumps(sampler, indent=2) + "\n")
    for path in out.rglob("config.json"):
        config = json.loads(path.read_text())
        config.pop("_name_or_path", None)
        path.write_text(json.dumps(config, indent=2) + "\n")
    for path in out.rglob("*.safetensors"):
        path.chmod(0o644)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--autoencoder", help="run folder; untrained if absent")
    parser.add_argument("--diffusion", help="run folder; untrained if absent")
    parser.add_argument("--out", default="models/diorama")
    args = parser.parse_args()
    out = pathlib.Path(args.out)
    build_tokenizer.build(out / "tokenizer")
    torch.manual_seed(0)
    pipeline = load_pipeline(args.autoencoder, args.diffusion, out / "tokenizer")
    pipeline.to(torch.float16)
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        part.to(memory_format=torch.contiguous_format)
    pipeline.save_pretrained(out, safe_serialization=True)
    tidy(out)
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        count = sum(p.numel() for p in part.parameters())
        print(f"{type(part).__name__}: {count / 1e6:.2f} M parameters")


if __name__ == "__main__":
    main()
