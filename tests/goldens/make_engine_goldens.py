"""Makes the engine's goldens with diffusers and torch in fp32: the text embedding, one UNet forward, the latent
after 20 steps of each sampler, and the decoded picture.

    python tests/goldens/make_engine_goldens.py            # both sets, from the repository's root
    python tests/goldens/make_engine_goldens.py diorama    # after new weights

Two sets. `engine_diorama.safetensors`: the built-in model as it lies in models/diorama; its metadata has the
hashes of the weights it was made from, and the test says so when they are others. `engine_tiny.safetensors`: a
model of Stable Diffusion 1.5's kind (1x1 convolution projections, head dims 40, 80 and 160, epsilon, three
levels), whose weights both sides compute from the tensors' names, so that it needs no weights in the repository:
see weights() of parity/parts.py.

Needs torch, diffusers, transformers and safetensors. Made with torch 2.15.0, diffusers 0.42.1 and transformers 5.23.0;
diffusers 0.39.0 and transformers 4.57.6 give the same goldens, and configs with more fields:

    pip install torch==2.15.0 diffusers==0.42.1 transformers==5.23.0 safetensors==0.8.0
"""
import hashlib
import json
import pathlib
import sys

import numpy as np
import torch
from diffusers import (AutoencoderKL, DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler,
                       UNet2DConditionModel)
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizerFast

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDENS = ROOT / "tests/goldens"
sys.path.insert(0, str(GOLDENS / "parity"))
from parts import config_of, weights
PROMPT = "a miniature red robot on a round wooden base, studio light"
NEGATIVE = "blurry"
STEPS = 20
GUIDANCE = 4.0
SAMPLERS = {"ddim": DDIMScheduler, "euler": EulerDiscreteScheduler, "dpmpp_2m": DPMSolverMultistepScheduler}
PICTURE_ROWS = 3  # every third row of the picture is kept

torch.set_grad_enabled(False)
torch.use_deterministic_algorithms(True)


def sampler_for(kind, config):
    """diffusers' class with what the engine reads of a config."""
    drop = {"algorithm_type", "solver_order", "solver_type", "lower_order_final", "_class_name", "_diffusers_version"}
    shared = {k: v for k, v in config.items() if k not in drop}
    if kind != "ddim":
        shared = {k: v for k, v in shared.items() if k not in ("clip_sample", "set_alpha_to_one")}
    return SAMPLERS[kind].from_config(shared)


def denoise(unet, sampler, latent, text, negative):
    sampler.set_timesteps(STEPS)
    latent = latent * sampler.init_noise_sigma
    for timestep in sampler.timesteps:
        scaled = sampler.scale_model_input(latent, timestep)
        guided = unet(scaled, timestep, text).sample
        unguided = unet(scaled, timestep, negative).sample
        output = unguided + GUIDANCE * (guided - unguided)
        latent = sampler.step(output, timestep, latent).prev_sample
    return latent


def make(name, tokenizer, text_encoder, unet, vae, noise_config, size, metadata):
    def embed(text):
        ids = tokenizer(text, padding="max_length", truncation=True, return_tensors="pt").input_ids
        return text_encoder(ids).last_hidden_state

    tensors = {}
    text, negative = embed(PROMPT), embed(NEGATIVE)
    latent = torch.from_numpy(np.random.default_rng(7).standard_normal((1, 4, size, size), np.float32))
    tensors["noise"] = latent
    tensors["text"] = text
    tensors["forward"] = unet(latent, 500, text).sample
    for kind in SAMPLERS:
        tensors[f"latent.{kind}"] = denoise(unet, sampler_for(kind, noise_config), latent, text, negative)
    picture = vae.decode(tensors["latent.ddim"] / vae.config.scaling_factor).sample
    tensors["picture"] = picture[0].permute(1, 2, 0)[::PICTURE_ROWS]
    metadata |= {"prompt": PROMPT, "negative_prompt": NEGATIVE, "steps": str(STEPS), "guidance": str(GUIDANCE)}
    path = GOLDENS / f"engine_{name}.safetensors"
    save_file({k: v.squeeze(0).contiguous().float() for k, v in tensors.items()}, path, metadata)
    print(path.relative_to(ROOT), path.stat().st_size, {k: round(v.std().item(), 4) for k, v in tensors.items()})


def make_diorama():
    model = ROOT / "models/diorama"
    load = {"torch_dtype": torch.float32}
    files = sorted(model.glob("*/*.safetensors"))
    hashes = {f"{f.parent.name}": hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
    make("diorama", CLIPTokenizerFast.from_pretrained(model / "tokenizer"),
         CLIPTextModel.from_pretrained(model / "text_encoder", dtype=torch.float32).eval(),
         UNet2DConditionModel.from_pretrained(model / "unet", **load).eval(),
         AutoencoderKL.from_pretrained(model / "vae", **load).eval(),
         json.loads((model / "scheduler/scheduler_config.json").read_text()), 32, hashes)


def fill(model, component, names):
    state = model.state_dict()
    for key in sorted(state):
        name = key.removeprefix("text_model.")  # before transformers 5
        if "position_ids" in name or component == "vae" and name.startswith(("encoder.", "quant_conv.")):
            continue
        names.append(" ".join([component, name, *map(str, state[key].shape)]))
        state[key] = weights(name, list(state[key].shape))
    model.load_state_dict(state)
    return model.eval()


def make_tiny():
    """Writes the configs and the list of tensors as well: tests/goldens/tiny/."""
    folder = GOLDENS / "tiny"
    tokenizer = CLIPTokenizerFast.from_pretrained(ROOT / "engine/testdata/tokenizer", model_max_length=77)
    text = CLIPTextModel(CLIPTextConfig(vocab_size=len(tokenizer), hidden_size=96, intermediate_size=160,
                                        num_hidden_layers=2, num_attention_heads=4, hidden_act="gelu",
                                        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id))
    unet = UNet2DConditionModel(
        block_out_channels=(80, 160, 320), layers_per_block=1, attention_head_dim=2, cross_attention_dim=96,
        norm_num_groups=16, down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"), sample_size=16)
    vae = AutoencoderKL(block_out_channels=(16, 48), layers_per_block=1, norm_num_groups=8, latent_channels=4,
                        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2)
    noise = {"_class_name": "DDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012,
             "beta_schedule": "scaled_linear", "num_train_timesteps": 1000, "prediction_type": "epsilon",
             "steps_offset": 1, "set_alpha_to_one": False, "clip_sample": False, "timestep_spacing": "leading"}
    index = {"_class_name": "StableDiffusionPipeline", "scheduler": ["diffusers", "DDIMScheduler"],
             "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
             "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]}
    names = []
    fill(text, "text_encoder", names)
    fill(unet, "unet", names)
    fill(vae, "vae", names)
    text.config.architectures = ["CLIPTextModel"]
    for path, content in {"model_index.json": index, "scheduler/scheduler_config.json": noise,
                          "text_encoder/config.json": config_of(text),
                          "unet/config.json": config_of(unet),
                          "vae/config.json": config_of(vae)}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    (folder / "tensors.txt").write_text("\n".join(names) + "\n")
    make("tiny", tokenizer, text, unet, vae, noise, 16, {})


if __name__ == "__main__":
    for which in sys.argv[1:] or ["diorama", "tiny"]:
        {"diorama": make_diorama, "tiny": make_tiny}[which]()
