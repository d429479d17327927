"""Renders each case of cases.json with diffusers' own pipeline in fp32 and keeps what it passes through:

    python tests/goldens/parity/make_goldens.py [CASE...]      writes CASE.safetensors beside this file

and CASE.index.json, the model_index.json of a pipeline with ControlNets as save_pretrained writes it.

For prompt i: i.ids [encoders, tokens], i.embedding and i.negative (every fifth row), i.pooled, i.forward (the UNet's
output at timestep 500 for the noise), i.latents [steps, 4, h, w] after each step, i.picture (every ninth line).
engine/family_parity_test.cc renders the same cases. What cases have in common: weights from the tensors' names
(parts.py), noise from the seed, counted up over the prompts of a case (noise.py), a photo and a mask that are formulas.

A case is text to image unless `mode` says image_to_image, inpaint or edit: each goes through diffusers' own pipeline of
that mode, with ControlNets where it names `controls`. Prompts with weights or of more than one chunk, which diffusers leaves to its users, are given in `pieces` as
well: encode_pieces() is what docs/spec.md says of them. The case `photo` is what becomes of the photo before any step.
"""

import inspect
import json
import pathlib
import sys
import tempfile

import diffusers
import numpy as np
import torch
from diffusers.models.autoencoders import vae as posterior
from diffusers.schedulers import scheduling_euler_ancestral_discrete, scheduling_lcm
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPTokenizerFast

import parts
from noise import Streams, normal

HERE = pathlib.Path(__file__).resolve().parent
TOKENIZER = HERE.parents[2] / "engine/testdata/tokenizer"
EMBEDDING_ROWS, PICTURE_ROWS, TIMESTEP = 5, 9, 500
PHOTO_STREAM, MASKED_STREAM = 0x80000000, 0x80000001  # of the noise that the encoder's latents are sampled by

torch.set_grad_enabled(False)
torch.use_deterministic_algorithms(True)
diffusers.utils.logging.set_verbosity_error()


def tokenizer(pad_token):
    with tempfile.TemporaryDirectory() as folder:
        for file in TOKENIZER.iterdir():
            (pathlib.Path(folder) / file.name).write_bytes(file.read_bytes())
        config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "pad_token": pad_token}
        (pathlib.Path(folder) / "tokenizer_config.json").write_text(json.dumps(config))
        return CLIPTokenizerFast.from_pretrained(folder)


PIPELINES = {  # of a mode, for one text encoder and for SDXL's two
    "image_to_image": ("StableDiffusionImg2ImgPipeline", "StableDiffusionXLImg2ImgPipeline"),
    "inpaint": ("StableDiffusionInpaintPipeline", "StableDiffusionXLInpaintPipeline"),
    "edit": ("StableDiffusionInstructPix2PixPipeline", "StableDiffusionXLInstructPix2PixPipeline"),
}


def pipeline_class(model, mode, controlled):
    if controlled:
        suffix = {"image_to_image": "Img2Img", "inpaint": "Inpaint"}.get(mode, "")
        return f"StableDiffusion{'XL' if 'text_encoder_2' in model else ''}ControlNet{suffix}Pipeline"
    if mode not in PIPELINES:
        return model["_class_name"]
    if model["_class_name"] == "LatentConsistencyModelPipeline":
        return "LatentConsistencyModelImg2ImgPipeline"
    return PIPELINES[mode]["text_encoder_2" in model]


def pipeline(model, scheduler, mode="text_to_image", controls=()):
    cls = getattr(diffusers, pipeline_class(model, mode, controls))
    built = {name: parts.build(model[name]) for name in ("text_encoder", "text_encoder_2", "unet", "vae") if name in model}
    for suffix in ("", "_2"):
        if "pad_token" + suffix in model:
            built["tokenizer" + suffix] = tokenizer(model["pad_token" + suffix])
    if "text_encoder_2" in model:
        built = {"text_encoder": None, "tokenizer": None} | built
        known = inspect.signature(cls.__init__).parameters
        options = ("force_zeros_for_empty_prompt", "requires_aesthetics_score")
        built |= {k: model[k] for k in options if k in model and k in known}
    else:
        built |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        if "image_encoder" in inspect.signature(cls.__init__).parameters:
            built["image_encoder"] = None
    if controls:
        built["controlnet"] = [parts.build(control["part"]) for control in controls]
    config = {k: v for k, v in scheduler.items() if k != "_class_name"}
    pipe = cls(scheduler=getattr(diffusers, scheduler["_class_name"])(**config), **built)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def encoders(pipe):
    both = [(pipe.tokenizer, pipe.text_encoder), (getattr(pipe, "tokenizer_2", None), getattr(pipe, "text_encoder_2", None))]
    return [(t, e) for t, e in both if e is not None]


def chunks_of(tok, pieces, chunks=1):
    """ids and weights [chunks, 77]: as many chunks as are needed, at least `chunks`."""
    ids = [(i, weight) for text, weight in pieces for i in tok(text, add_special_tokens=False).input_ids]
    rows = []
    for first in range(0, max(len(ids), 75 * chunks, 1), 75):
        part = ids[first:first + 75]
        row = [(tok.bos_token_id, 1), *part, (tok.eos_token_id, 1)]
        rows.append(row + [(tok.pad_token_id, 1)] * (77 - len(row)))
    return torch.tensor([[i for i, _ in row] for row in rows]), torch.tensor([[float(w) for _, w in row] for row in rows])


def encode_pieces(pipe, pieces, chunks=1):
    """embedding [1, tokens, dim] and pooled, without clip skip."""
    embeddings, pooled = [], None
    for tok, encoder in encoders(pipe):
        several = hasattr(pipe, "text_encoder_2")
        hidden = lambda ids: (lambda out: out.hidden_states[-2] if several else out[0])(encoder(ids, output_hidden_states=True))
        ids, weights = chunks_of(tok, pieces, chunks)
        nothing = hidden(chunks_of(tok, [])[0])
        embeddings.append((nothing + weights[..., None] * (hidden(ids) - nothing)).reshape(1, -1, nothing.shape[-1]))
        if several and encoder is pipe.text_encoder_2:
            pooled = encoder(ids[:1])[0]
    return torch.cat(embeddings, -1), pooled


def encode(pipe, case):
    """prompt, negative, pooled, negative pooled; the last two None for one encoder."""
    guided = case["guidance_scale"] > 1 and pipe.unet.config.time_cond_proj_dim is None
    if "pieces" in case:
        sides = [case["pieces"], case["negative_pieces"]]
        chunks = max(len(chunks_of(tok, side)[0]) for tok, _ in encoders(pipe) for side in sides)
        (text, pooled), (negative, negative_pooled) = (encode_pieces(pipe, side, chunks) for side in sides)
        return text, negative, pooled, negative_pooled
    if not hasattr(pipe, "encode_prompt"):
        return tuple(encode_pieces(pipe, [[text, 1]])[0] for text in (case["prompts"][0], case["negative_prompt"])) + (None, None)
    count = len(case["prompts"])
    negative = case.get("negative_prompt")
    more = {"clip_skip": case["clip_skip"]} if "clip_skip" in case else {}
    result = pipe.encode_prompt(case["prompts"], device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=guided,
                                negative_prompt=None if negative is None else [negative] * count, **more)
    return result if len(result) == 4 else (*result, None, None)


def forward(pipe, case, embedding, pooled, sample):
    extra = {}
    if pipe.unet.config.time_cond_proj_dim:
        scale = torch.full((len(sample),), case["guidance_scale"] - 1.0)
        extra["timestep_cond"] = diffusers.LatentConsistencyModelPipeline.get_guidance_scale_embedding(
            None, scale, embedding_dim=pipe.unet.config.time_cond_proj_dim)
    if pooled is not None:
        size = [case["height"], case["width"]]
        last = [6.0] if pipe.config.get("requires_aesthetics_score") else size
        extra["added_cond_kwargs"] = {"text_embeds": pooled, "time_ids": torch.tensor([[*size, 0, 0, *last]] * len(sample))}
    if "controls" in case:
        given = controls_of(case)
        pictures = [pipe.control_image_processor.preprocess(picture) for picture in
                    given.get("image", given.get("control_image"))]
        down, middle = pipe.controlnet(sample, TIMESTEP, embedding, pictures, given["controlnet_conditioning_scale"],
                                       return_dict=False, **extra)
        extra |= {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
    return pipe.unet(sample, TIMESTEP, embedding, **extra).sample


def photo():
    y, x = np.mgrid[0:75, 0:100]
    return Image.fromarray(np.stack([x * 255 // 99, y * 255 // 74, (x * 7 + y * 13) % 256], -1).astype(np.uint8))


def mask():
    y, x = np.mgrid[0:75, 0:100]
    inside = (x - 60) ** 2 * 4 + (y - 35) ** 2 * 9 < 6000
    return Image.fromarray(np.repeat(np.where(inside, 255, 0).astype(np.uint8)[..., None], 3, -1))


def resized(image, width, height):
    """Widths before heights, as every Pillow before 13 does it, and the engine."""
    return image.resize((width, image.height), Image.LANCZOS).resize((width, height), Image.LANCZOS)


def control_picture(i):
    """Another for each ControlNet: bars of every hue, turned."""
    y, x = np.mgrid[0:70, 0:90]
    bars = np.stack([(x * (3 + i) + y * 5) % 256, (x * 2 + y * (7 - i)) % 256, (x * y // 16 + 90 * i) % 256], -1)
    return Image.fromarray(bars.astype(np.uint8))


def controls_of(case):
    """What a pipeline with ControlNets is called with beside; the image is called otherwise where there is a photo, too."""
    if "controls" not in case:
        return {}
    size = {"width": case["width"], "height": case["height"]}
    pictures = [resized(control_picture(i), **size) for i in range(len(case["controls"]))]
    values = lambda field, missing: [control.get(field, missing) for control in case["controls"]]
    return {"control_image" if "mode" in case else "image": pictures,
            "controlnet_conditioning_scale": [float(scale) for scale in values("scale", 1)],
            "control_guidance_start": [float(start) for start in values("start", 0)],
            "control_guidance_end": [float(end) for end in values("end", 1)]}


def posterior_streams(case, channels):
    """The order in which the pipelines sample the encoder's latents; an edit takes the means."""
    if case["mode"] == "image_to_image":
        return [PHOTO_STREAM]
    if case["mode"] == "inpaint":
        return ([PHOTO_STREAM] if channels == 4 or case["strength"] < 1 else []) + [MASKED_STREAM]
    return []


def of_mode(pipe, case):
    """What the mode's pipeline is called with beside the prompt; most take the photo's size for the render's."""
    mode, size = case.get("mode", "text_to_image"), {"width": case["width"], "height": case["height"]}
    if mode == "text_to_image":
        return size
    image = {"image": resized(photo(), **size)}
    if mode == "image_to_image":
        return image | {"strength": case["strength"]}
    if mode == "edit":
        knows_size = "width" in inspect.signature(pipe.__call__).parameters
        return image | (size if knows_size else {}) | {"image_guidance_scale": case["image_guidance_scale"]}
    return size | image | {"mask_image": resized(mask(), **size), "strength": case["strength"]}


def render(pipe, case, conditioning):
    """The latents after each step."""
    latents = []

    def keep(_, step, timestep, values):
        latents.append(values["latents"].clone())
        return values

    # Whatever draws noise: the pipeline the initial latent's, the encoder's posterior, some samplers each step's.
    sys.modules[type(pipe).__module__].randn_tensor = Streams(case["seed"], [0])
    if "mode" in case:
        posterior.randn_tensor = Streams(case["seed"], posterior_streams(case, pipe.unet.config.in_channels))
    scheduling_lcm.randn_tensor = scheduling_euler_ancestral_discrete.randn_tensor = Streams(case["seed"], range(1, 1000))

    names = ["prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds"]
    given = {name: value for name, value in zip(names, conditioning) if value is not None}
    known = inspect.signature(pipe.__call__).parameters
    if "negative_prompt_embeds" not in known:  # guidance is an input of the UNet's
        given.pop("negative_prompt_embeds", None)
    if "callback_on_step_end" in known:
        given["callback_on_step_end"] = keep
    else:
        given["callback"] = lambda step, timestep, latent: keep(None, step, timestep, {"latents": latent})
    pipe(num_inference_steps=case["steps"], guidance_scale=case["guidance_scale"], output_type="latent",
         generator=torch.Generator(), **of_mode(pipe, case), **controls_of(case), **given)
    return latents


def make_photo():
    """The photo at two sizes, and what the encoders make of it."""
    outputs = {f"{width}x{height}": torch.from_numpy(np.asarray(resized(photo(), width, height)).copy())
               for width, height in ((80, 64), (131, 90))}
    planar = (outputs["80x64"].float() / 255 * 2 - 1).permute(2, 0, 1)[None]
    outputs["moments.small"] = parts.build("vae").encode(planar).latent_dist.parameters[0]
    outputs["moments.taesd"] = parts.build("vae_taesd").encode(planar).latents[0]
    save_file({name: value.contiguous() for name, value in outputs.items()}, HERE / "photo.safetensors")


def saved_index(pipe):
    nets = pipe.controlnet.nets
    if len(nets) == 1:
        pipe.register_modules(controlnet=nets[0])
    with tempfile.TemporaryDirectory() as folder:
        pipe.save_pretrained(folder)
        for i in range(len(nets)):  # as engine/testing/parity_case.cc lays them
            assert (pathlib.Path(folder) / ("controlnet" + (f"_{i}" if i else "")) / "config.json").exists()
        return (pathlib.Path(folder) / "model_index.json").read_text()


def make(case, table):
    pipe = pipeline(table["models"][case["model"]], table["schedulers"][case["scheduler"]], case.get("mode"), case.get("controls", ()))
    count, cells = len(case["prompts"]), (case["height"] // 8, case["width"] // 8)
    conditioning = embedding, negative, pooled, _ = encode(pipe, case)
    channels = pipe.unet.config.in_channels
    sample = torch.stack([normal(case["seed"] + i, 0, (channels, *cells)) for i in range(count)])
    outputs = {"embedding": embedding[:, ::EMBEDDING_ROWS], "forward": forward(pipe, case, embedding, pooled, sample)}
    sides = case.get("pieces")
    chunks = embedding.shape[1] // 77
    outputs["ids"] = torch.stack([
        torch.stack([chunks_of(tok, sides or [[prompt, 1]], chunks)[0].reshape(-1) for tok, _ in encoders(pipe)])
        for prompt in case["prompts"]]).int()
    if negative is not None:
        outputs["negative"] = negative[:, ::EMBEDDING_ROWS]
    if pooled is not None:
        outputs["pooled"] = pooled
    latents = render(pipe, case, conditioning)
    outputs["latents"] = torch.stack(latents, 1)
    picture = pipe.vae.decode(latents[-1] / pipe.vae.config.scaling_factor).sample
    outputs["picture"] = picture.permute(0, 2, 3, 1)[:, ::PICTURE_ROWS]
    path = HERE / f"{case['name']}.safetensors"
    save_file({f"{i}.{name}": value[i].contiguous() for name, value in outputs.items() for i in range(count)}, path)
    if "controls" in case:
        (HERE / f"{case['name']}.index.json").write_text(saved_index(pipe))
    print(case["name"], path.stat().st_size, {k: round(v.float().std().item(), 3) for k, v in outputs.items()})


def main():
    table = json.loads((HERE / "cases.json").read_text())
    if not sys.argv[1:] or "photo" in sys.argv[1:]:
        make_photo()
    for case in table["cases"]:
        if not sys.argv[1:] or case["name"] in sys.argv[1:]:
            make(case, table)


if __name__ == "__main__":
    main()
