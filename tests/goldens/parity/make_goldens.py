"""Renders each case of cases.json with diffusers' own pipeline in fp32 and keeps what it passes through:

    python tests/goldens/parity/make_goldens.py [CASE...]      writes CASE.safetensors beside this file

For prompt i: i.ids [encoders, tokens], i.embedding and i.negative (every fifth row), i.pooled, i.forward (the UNet's
output at timestep 500 for the noise), i.latents [steps, 4, h, w] after each step, i.picture (every ninth line).
engine/family_parity_test.cc renders the same cases. What cases have in common: weights from the tensors' names
(parts.py), noise from the seed, counted up over the prompts of a case (noise.py).

A case is text to image unless `mode` names another of MODES. Prompts with weights or of more than one chunk, which
diffusers leaves to its users, are given in `pieces` as well: encode_pieces() is what docs/spec.md says of them.
"""

import json
import pathlib
import sys
import tempfile

import diffusers
import torch
from diffusers.schedulers import scheduling_euler_ancestral_discrete, scheduling_lcm
from safetensors.torch import save_file
from transformers import CLIPTokenizerFast

import parts
from noise import StepNoise, normal

HERE = pathlib.Path(__file__).resolve().parent
TOKENIZER = HERE.parents[2] / "engine/testdata/tokenizer"
EMBEDDING_ROWS, PICTURE_ROWS, TIMESTEP = 5, 9, 500

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


def pipeline(model, scheduler):
    cls = getattr(diffusers, model["_class_name"])
    built = {name: parts.build(model[name]) for name in ("text_encoder", "text_encoder_2", "unet", "vae") if name in model}
    for suffix in ("", "_2"):
        if "pad_token" + suffix in model:
            built["tokenizer" + suffix] = tokenizer(model["pad_token" + suffix])
    if "text_encoder_2" in model:
        built = {"text_encoder": None, "tokenizer": None} | built
        built |= {k: model[k] for k in ("force_zeros_for_empty_prompt", "requires_aesthetics_score") if k in model}
    else:
        built |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
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
        return encode_pieces(pipe, [[case["prompts"][0], 1]])[0], None, None, None
    count = len(case["prompts"])
    negative = case.get("negative_prompt")
    result = pipe.encode_prompt(case["prompts"], device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=guided,
                                negative_prompt=None if negative is None else [negative] * count,
                                clip_skip=case.get("clip_skip"))
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
    return pipe.unet(sample, TIMESTEP, embedding, **extra).sample


def text_to_image(pipe, case, conditioning, noise):
    latents = []

    def keep(_, step, timestep, values):
        latents.append(values["latents"].clone())
        return values

    scheduling_lcm.randn_tensor = scheduling_euler_ancestral_discrete.randn_tensor = StepNoise(case["seed"])
    names = ["prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds"]
    given = {name: value for name, value in zip(names, conditioning) if value is not None}
    if pipe.unet.config.time_cond_proj_dim is not None:
        given.pop("negative_prompt_embeds", None)
    pipe(width=case["width"], height=case["height"], num_inference_steps=case["steps"], guidance_scale=case["guidance_scale"],
         latents=noise.clone(), output_type="latent", callback_on_step_end=keep, **given)
    return latents


MODES = {"text_to_image": text_to_image, "forward": None}


def make(case, table):
    pipe = pipeline(table["models"][case["model"]], table["schedulers"][case["scheduler"]])
    count, cells = len(case["prompts"]), (case["height"] // 8, case["width"] // 8)
    shape = (4, *cells)
    conditioning = embedding, negative, pooled, _ = encode(pipe, case)
    noise = torch.stack([normal(case["seed"] + i, 0, shape) for i in range(count)])
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
    render = MODES[case.get("mode", "text_to_image")]
    if render is not None:
        latents = render(pipe, case, conditioning, noise)
        outputs["latents"] = torch.stack(latents, 1)
        picture = pipe.vae.decode(latents[-1] / pipe.vae.config.scaling_factor).sample
        outputs["picture"] = picture.permute(0, 2, 3, 1)[:, ::PICTURE_ROWS]
    path = HERE / f"{case['name']}.safetensors"
    save_file({f"{i}.{name}": value[i].contiguous() for name, value in outputs.items() for i in range(count)}, path)
    print(case["name"], path.stat().st_size, {k: round(v.float().std().item(), 3) for k, v in outputs.items()})


def main():
    table = json.loads((HERE / "cases.json").read_text())
    for case in table["cases"]:
        if not sys.argv[1:] or case["name"] in sys.argv[1:]:
            make(case, table)


if __name__ == "__main__":
    main()
