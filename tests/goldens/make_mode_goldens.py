"""Makes the goldens of the modes and the image side with diffusers' own pipelines in fp32: image-to-image, edit
(InstructPix2Pix), inpainting with 9 and with 4 channels, and an AutoencoderTiny.

    python tests/goldens/make_mode_goldens.py        (torch, diffusers, transformers, from the repository's root)

Writes tests/goldens/modes.safetensors and, for each model, its configs and its list of tensors: tests/goldens/modes_*.
The weights follow from the tensors' names (make_engine_goldens.py: tiny_weights). All noise is the engine's own: Philox,
by seed, stream and element, handed to the pipelines in place of torch's. The photo and the mask are formulas, too.
modes_test.cc has the same table of cases.
"""
import json
import pathlib

import diffusers
import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from diffusers.models.autoencoders import vae as vae_module
from diffusers.pipelines.stable_diffusion import (pipeline_stable_diffusion, pipeline_stable_diffusion_img2img,
                                                  pipeline_stable_diffusion_inpaint,
                                                  pipeline_stable_diffusion_instruct_pix2pix)
from diffusers.schedulers import scheduling_euler_ancestral_discrete, scheduling_lcm
from make_engine_goldens import GOLDENS, ROOT, tiny_weights
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizerFast

WIDTH, HEIGHT, SCALE = 80, 64, 4
SEED = 2026
STEPS = 5
GUIDANCE = 3.0
PROMPT, NEGATIVE = "a miniature blue cat on a round wooden base", "blurry"
PICTURE_ROWS, CHANNELS = 8, 2  # every eighth row of a picture and every second channel of a latent are kept
PHOTO_STREAM, MASKED_STREAM = 0x80000000, 0x80000001

NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000,
         "prediction_type": "epsilon", "steps_offset": 1, "clip_sample": False, "set_alpha_to_one": False,
         "timestep_spacing": "leading"}
SAMPLERS = {
    "ddim": ("DDIMScheduler", {}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {}),
    "dpmpp_2m_karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "lcm": ("LCMScheduler", {}),
}
PIPELINES = {
    "text": ("StableDiffusionPipeline", pipeline_stable_diffusion),
    "image": ("StableDiffusionImg2ImgPipeline", pipeline_stable_diffusion_img2img),
    "inpaint": ("StableDiffusionInpaintPipeline", pipeline_stable_diffusion_inpaint),
    "edit": ("StableDiffusionInstructPix2PixPipeline", pipeline_stable_diffusion_instruct_pix2pix),
}
# model, mode, sampler, strength, image_guidance_scale
CASES = [
    ("base", "text", "euler_a", 1, 0), ("base", "text", "dpmpp_2m_karras", 1, 0), ("base", "text", "lcm", 1, 0),
    ("base", "image", "ddim", 0.6, 0), ("base", "image", "euler", 0.6, 0), ("base", "image", "euler_a", 0.6, 0),
    ("base", "image", "dpmpp_2m", 0.8, 0), ("base", "image", "dpmpp_2m", 1, 0),
    ("base", "inpaint", "ddim", 1, 0), ("base", "inpaint", "euler", 0.8, 0),
    ("inpaint", "inpaint", "ddim", 1, 0), ("inpaint", "inpaint", "dpmpp_2m", 0.8, 0),
    ("edit", "edit", "euler_a", 1, 1.5), ("edit", "edit", "ddim", 1, 1.5), ("edit", "edit", "ddim", 1, 0.5),
    ("taesd", "image", "ddim", 0.6, 0),
]

torch.set_grad_enabled(False)
torch.use_deterministic_algorithms(True)


def philox_normal(seed, stream, count):
    """engine/philox.h: four numbers a block, by Box-Muller."""
    blocks = np.arange((count + 3) // 4, dtype=np.uint64)
    mask = np.uint64(0xffffffff)
    c = [blocks & mask, blocks >> np.uint64(32), np.full_like(blocks, stream), np.zeros_like(blocks)]
    key = [np.uint64(seed & 0xffffffff), np.uint64(seed >> 32)]
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [p1 >> np.uint64(32) ^ c[1] ^ key[0], p1 & mask, p0 >> np.uint64(32) ^ c[3] ^ key[1], p0 & mask]
        key = [key[0] + np.uint64(0x9E3779B9) & mask, key[1] + np.uint64(0xBB67AE85) & mask]
    out = []
    for a, b in ((c[0], c[1]), (c[2], c[3])):
        radius = np.sqrt(-2 * np.log((a.astype(np.float64) + 1) / 2**32))
        angle = b.astype(np.float64) * (2 * np.pi / 2**32)
        out += [radius * np.cos(angle), radius * np.sin(angle)]
    return np.stack(out, 1).reshape(-1)[:count].astype(np.float32)


def streams(numbers):
    """Stands in for randn_tensor: the next stream at each call."""
    numbers = iter(numbers)

    def randn_tensor(shape, **_):
        count = int(np.prod(shape))
        return torch.from_numpy(philox_normal(SEED, next(numbers), count).reshape(shape))
    return randn_tensor


def photo():
    y, x = np.mgrid[0:75, 0:100]
    return np.stack([x * 255 // 99, y * 255 // 74, (x * 7 + y * 13) % 256], -1).astype(np.uint8)


def mask():
    y, x = np.mgrid[0:75, 0:100]
    inside = (x - 60) ** 2 * 4 + (y - 35) ** 2 * 9 < 6000
    return np.repeat(np.where(inside, 255, 0).astype(np.uint8)[..., None], 3, -1)


def fill(model, component, names):
    state = model.state_dict()
    for name in sorted(state):
        if "position_ids" in name:
            continue
        names.append(" ".join([component, name, *map(str, state[name].shape)]))
        state[name] = tiny_weights(name, list(state[name].shape))
    model.load_state_dict(state)
    return model.eval()


def make_model(kind):
    tokenizer = CLIPTokenizerFast.from_pretrained(ROOT / "engine/testdata/tokenizer", model_max_length=77)
    text = CLIPTextModel(CLIPTextConfig(vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64,
                                        num_hidden_layers=1, num_attention_heads=4, hidden_act="quick_gelu",
                                        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id))
    unet = UNet2DConditionModel(
        in_channels={"edit": 8, "inpaint": 9}.get(kind, 4), block_out_channels=(32, 64), layers_per_block=1,
        attention_head_dim=2, cross_attention_dim=32, norm_num_groups=8, sample_size=64,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"))
    if kind == "taesd":
        vae = AutoencoderTiny(encoder_block_out_channels=(24,) * 3, decoder_block_out_channels=(24,) * 3,
                              num_encoder_blocks=(1, 2, 1), num_decoder_blocks=(2, 1, 1))
    else:
        vae = AutoencoderKL(block_out_channels=(16, 32, 32), layers_per_block=1, norm_num_groups=8,
                            down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3)
    names = []
    parts = dict(text_encoder=fill(text, "text_encoder", names), unet=fill(unet, "unet", names),
                 vae=fill(vae, "vae", names), tokenizer=tokenizer)
    text.config.architectures = ["CLIPTextModel"]
    index = {"_class_name": {"edit": PIPELINES["edit"][0], "inpaint": PIPELINES["inpaint"][0]}.get(
                 kind, PIPELINES["text"][0]),
             "scheduler": ["diffusers", "DDIMScheduler"], "text_encoder": ["transformers", "CLIPTextModel"],
             "tokenizer": ["transformers", "CLIPTokenizer"], "unet": ["diffusers", "UNet2DConditionModel"],
             "vae": ["diffusers", type(vae).__name__]}
    for path, content in {"model_index.json": index,
                          "scheduler/scheduler_config.json": {"_class_name": "DDIMScheduler", **NOISE},
                          "text_encoder/config.json": json.loads(text.config.to_json_string(use_diff=False)),
                          "unet/config.json": json.loads(unet.to_json_string()),
                          "vae/config.json": json.loads(vae.to_json_string())}.items():
        file = GOLDENS / f"modes_{kind}" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    (GOLDENS / f"modes_{kind}/tensors.txt").write_text("\n".join(names) + "\n")
    return parts


def sampler_for(name):
    class_name, more = SAMPLERS[name]
    known = getattr(diffusers, class_name).__init__.__wrapped__.__code__.co_varnames
    return getattr(diffusers, class_name)(**{k: v for k, v in {**NOISE, **more}.items() if k in known})


def posterior_streams(kind, mode, strength):
    """The order in which the pipelines sample the encoder's latents."""
    if mode == "image":
        return [PHOTO_STREAM]
    if mode == "inpaint":
        return ([PHOTO_STREAM] if kind != "inpaint" or strength < 1 else []) + [MASKED_STREAM]
    return []


def run(parts, kind, mode, sampler, strength, image_guidance):
    class_name, module = PIPELINES[mode]
    more = {} if mode == "edit" else {"requires_safety_checker": False}
    if mode == "edit":
        more["image_encoder"] = None
    pipeline = getattr(diffusers, class_name)(**parts, scheduler=sampler_for(sampler), safety_checker=None,
                                              feature_extractor=None, **(more | {"requires_safety_checker": False}))
    pipeline.set_progress_bar_config(disable=True)
    vae_module.randn_tensor = streams(posterior_streams(kind, mode, strength))
    module.randn_tensor = streams([0])
    for each in (scheduling_euler_ancestral_discrete, scheduling_lcm):
        each.randn_tensor = streams(range(1, 100))
    latents = []

    def keep(_, step, timestep, values):
        latents.append(values["latents"][0].clone())
        return {}

    call = dict(prompt=PROMPT, negative_prompt=NEGATIVE, num_inference_steps=STEPS, guidance_scale=GUIDANCE,
                callback_on_step_end=keep, output_type="np", generator=torch.Generator())
    if mode in ("text", "inpaint"):
        call |= dict(width=WIDTH, height=HEIGHT)
    if mode != "text":
        image = Image.fromarray(photo())
        if mode != "inpaint":  # these take the photo's size for the render's
            image = image.resize((WIDTH, HEIGHT), Image.LANCZOS)
        call["image"] = image
    if mode == "inpaint":
        call["mask_image"] = Image.fromarray(mask())
    if mode in ("image", "inpaint"):
        call["strength"] = strength
    if mode == "edit":
        call["image_guidance_scale"] = image_guidance
    picture = torch.from_numpy(pipeline(**call).images[0])
    return torch.stack(latents), picture


def main():
    tensors = {}
    models = {kind: make_model(kind) for kind in ("base", "edit", "inpaint", "taesd")}
    resized = np.asarray(Image.fromarray(photo()).resize((WIDTH, HEIGHT), Image.LANCZOS))
    tensors["photo"] = torch.from_numpy(resized.copy())
    tensors["photo.larger"] = torch.from_numpy(
        np.asarray(Image.fromarray(photo()).resize((131, 90), Image.LANCZOS)).copy())
    planar = torch.from_numpy(resized.astype(np.float32) / 255.0 * 2 - 1).permute(2, 0, 1)[None].contiguous()
    tensors["moments.base"] = models["base"]["vae"].encode(planar).latent_dist.parameters[0]
    tensors["moments.taesd"] = models["taesd"]["vae"].encode(planar).latents[0]
    for case in CASES:
        latents, picture = run(models[case[0]], *case)
        name = ".".join(map(str, case))
        tensors[f"{name}.latents"] = latents[:, ::CHANNELS]
        tensors[f"{name}.picture"] = picture[::PICTURE_ROWS]
        print(name, tuple(latents.shape), round(latents[-1].std().item(), 3), round(picture.std().item(), 3))
    path = GOLDENS / "modes.safetensors"
    save_file({k: v.contiguous() for k, v in tensors.items()}, path,
              {"prompt": PROMPT, "negative_prompt": NEGATIVE, "seed": str(SEED)})
    print(path.relative_to(ROOT), path.stat().st_size)


if __name__ == "__main__":
    main()
