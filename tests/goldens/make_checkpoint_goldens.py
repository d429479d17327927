"""Which of diffusers' tensors each tensor of a single-file checkpoint is, as diffusers' own converters have it.

    python tests/goldens/make_checkpoint_goldens.py

writes tests/goldens/tiny/original_names.txt: [part, original, diffusers'], and, for the parts of Stable Diffusion 2
and XL, tests/goldens/parity/parts/NAME/original_names.txt: [original, form, diffusers'], where the form says what the
original is: the "same" tensor, a "matrix" as a 1x1 filter, a "transposed" one, or a stack that "q", "k" and "v" are
thirds of.

The names of the original layout are made up here by the inverse rules and put through the converters, with a number
in each tensor or with all the parity tests' weights; a name that they would not take, or a tensor that nothing became,
ends the script.
"""
import json
import pathlib
import re
import sys

import torch
from diffusers.loaders.single_file_utils import (convert_ldm_clip_checkpoint, convert_ldm_unet_checkpoint,
                                                 convert_ldm_vae_checkpoint, convert_open_clip_checkpoint)

sys.path.insert(0, str(pathlib.Path(__file__).parent / "parity"))
from parts import PARTS, weights

TINY = pathlib.Path(__file__).parent / "tiny"
RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
          "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def unet_name(name, config):
    each = config["layers_per_block"] + 1
    fixed = {"conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
             "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
             "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2"}
    for start, original in fixed.items():
        if name.startswith(start + "."):
            return original + name[len(start):]

    def inner(rest):
        for part, original in RESNET.items():
            if rest.startswith(part + "."):
                return original + rest[len(part):]
        return rest

    if found := re.match(r"down_blocks\.(\d+)\.resnets\.(\d+)\.(.*)", name):
        return f"input_blocks.{1 + int(found[1]) * each + int(found[2])}.0.{inner(found[3])}"
    if found := re.match(r"down_blocks\.(\d+)\.attentions\.(\d+)\.(.*)", name):
        return f"input_blocks.{1 + int(found[1]) * each + int(found[2])}.1.{found[3]}"
    if found := re.match(r"down_blocks\.(\d+)\.downsamplers\.0\.conv\.(.*)", name):
        return f"input_blocks.{(int(found[1]) + 1) * each}.0.op.{found[2]}"
    if found := re.match(r"mid_block\.resnets\.(\d+)\.(.*)", name):
        return f"middle_block.{2 * int(found[1])}.{inner(found[2])}"
    if found := re.match(r"mid_block\.attentions\.0\.(.*)", name):
        return f"middle_block.1.{found[1]}"
    if found := re.match(r"up_blocks\.(\d+)\.resnets\.(\d+)\.(.*)", name):
        return f"output_blocks.{int(found[1]) * each + int(found[2])}.0.{inner(found[3])}"
    if found := re.match(r"up_blocks\.(\d+)\.attentions\.(\d+)\.(.*)", name):
        return f"output_blocks.{int(found[1]) * each + int(found[2])}.1.{found[3]}"
    found = re.match(r"up_blocks\.(\d+)\.upsamplers\.0\.conv\.(.*)", name)
    attends = config["up_block_types"][int(found[1])] == "CrossAttnUpBlock2D"
    return f"output_blocks.{int(found[1]) * each + each - 1}.{2 if attends else 1}.conv.{found[2]}"


def vae_name(name, config):
    last = len(config["block_out_channels"]) - 1
    name = re.sub(r"decoder\.up_blocks\.(\d+)\.resnets", lambda m: f"decoder.up.{last - int(m[1])}.block", name)
    name = re.sub(r"decoder\.up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"decoder.up.{last - int(m[1])}.upsample", name)
    name = re.sub(r"encoder\.down_blocks\.(\d+)\.resnets", r"encoder.down.\1.block", name)
    name = re.sub(r"encoder\.down_blocks\.(\d+)\.downsamplers\.0", r"encoder.down.\1.downsample", name)
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    if found := re.match(r"(.*)mid_block\.attentions\.0\.(.*)\.(\w+)$", name):
        return f"{found[1]}mid.attn_1.{VAE_ATTENTION[found[2]]}.{found[3]}"
    return name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")


def pairs(part, names, prefix, convert):
    """[part, original, diffusers'] for each name that `convert` gives back, told apart by the number in it."""
    originals = [prefix + name for name in names]
    tagged = {name: torch.full((6, 1, 1, 1) if "attn_1" in name and name.endswith("weight") else (6,), float(i))
              for i, name in enumerate(originals)}
    return [(part, originals[int(tensor.flatten()[0])], name) for name, tensor in convert(tagged).items()]


def open_clip():
    names = ["positional_embedding", "token_embedding.weight", "ln_final.weight", "ln_final.bias"]
    for layer in range(2):
        block = f"transformer.resblocks.{layer}."
        names += [block + n for n in ("attn.in_proj_weight", "attn.in_proj_bias")]
        names += [block + n + end for n in ("ln_1", "ln_2", "attn.out_proj", "mlp.c_fc", "mlp.c_proj")
                  for end in (".weight", ".bias")]
    prefix = "conditioner.embedders.1.model."
    tagged = {prefix + name: torch.full((6, 2), float(i)) for i, name in enumerate(names)}
    tagged[prefix + "text_projection"] = torch.full((2, 2), float(len(names)))
    names.append("text_projection")
    found = convert_open_clip_checkpoint(None, tagged, prefix=prefix)
    return [("open_clip", prefix + names[int(tensor.flatten()[0])], name) for name, tensor in found.items()]


OPEN_CLIP = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "self_attn.out_proj": "attn.out_proj",
             "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}


def open_clip_row(name):
    """[original without its prefix, form]"""
    fixed = {"text_model.embeddings.position_embedding.weight": "positional_embedding",
             "text_model.embeddings.token_embedding.weight": "token_embedding.weight"}
    if name in fixed:
        return fixed[name], "same"
    if name == "text_projection.weight":
        return "text_projection", "transposed"
    if found := re.match(r"text_model\.final_layer_norm\.(\w+)", name):
        return f"ln_final.{found[1]}", "same"
    found = re.match(r"text_model\.encoder\.layers\.(\d+)\.(.*)\.(\w+)$", name)
    block = f"transformer.resblocks.{found[1]}."
    if third := re.match(r"self_attn\.([qkv])_proj", found[2]):
        return f"{block}attn.in_proj_{found[3]}", third[1]
    return f"{block}{OPEN_CLIP[found[2]]}.{found[3]}", "same"


def vae_row(name, config):
    matrix = ".attentions.0.to_" in name and name.endswith("weight")
    return vae_name(name, config), "matrix" if matrix else "same"


def original_tensors(rows, tensors):
    """What the single file holds, from diffusers' tensors."""
    file = {}
    for original, form, name in rows:
        if form in "qkv":
            file.setdefault(original, [None] * 3)["qkv".index(form)] = tensors[name]
        elif form == "matrix":
            file[original] = tensors[name][:, :, None, None]
        else:
            file[original] = tensors[name].T if form == "transposed" else tensors[name]
    return {name: torch.cat(found) if isinstance(found, list) else found for name, found in file.items()}


def write_part(part, prefix, row_of, convert):
    """`row_of` gives a name's row without the prefix; `convert` takes the file and the part's config."""
    config = json.loads((PARTS / part / "config.json").read_text())
    shapes = [line.split() for line in (PARTS / part / "tensors.txt").read_text().splitlines()]
    tensors = {name: weights(name, [int(dim) for dim in shape]) for name, *shape in shapes}
    rows = []
    for name in tensors:
        original, form = row_of(name, config)
        rows.append((prefix + original, form, name))
    found = convert(original_tensors(rows, tensors), config)
    assert found.keys() == tensors.keys(), part
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor), (part, name)
    (PARTS / part / "original_names.txt").write_text("".join(" ".join(row) + "\n" for row in rows))


def families():
    for part in ("unet_sd2", "unet_sdxl", "unet_refiner"):
        write_part(part, "model.diffusion_model.", lambda name, config: (unet_name(name, config), "same"),
                   convert_ldm_unet_checkpoint)
    for part in ("vae", "vae_xl"):
        write_part(part, "first_stage_model.", vae_row, convert_ldm_vae_checkpoint)
    write_part("text_l", "conditioner.embedders.0.transformer.", lambda name, _: (name, "same"),
               lambda file, _: convert_ldm_clip_checkpoint(file))
    for place in (0, 1):  # the refiner's first, SDXL's second, as which it is written
        prefix = f"conditioner.embedders.{place}.model."
        write_part("text_g", prefix, lambda name, _: open_clip_row(name),
                   lambda file, _: convert_open_clip_checkpoint(None, file, prefix=prefix))
    # Stable Diffusion 2's projection lies in the file, and nothing becomes of it.
    only = "cond_stage_model.model."
    unused = {only + "text_projection": torch.zeros(64, 64)}
    write_part("text_h", only, lambda name, _: open_clip_row(name),
               lambda file, _: convert_open_clip_checkpoint(None, file | unused, prefix=only))


def main():
    unet = json.loads((TINY / "unet/config.json").read_text())
    vae = json.loads((TINY / "vae/config.json").read_text())
    tensors = {}
    for line in (TINY / "tensors.txt").read_text().splitlines():
        part, name = line.split()[:2]
        tensors.setdefault(part, []).append(name)
    rows = pairs("unet", [unet_name(n, unet) for n in tensors["unet"]], "model.diffusion_model.",
                 lambda tagged: convert_ldm_unet_checkpoint(tagged, unet))
    rows += pairs("vae", [vae_name(n, vae) for n in tensors["vae"]], "first_stage_model.",
                  lambda tagged: convert_ldm_vae_checkpoint(tagged, vae))
    for part in ("unet", "vae"):
        assert sorted(row[2] for row in rows if row[0] == part) == sorted(tensors[part]), part
    # transformers' names behind a prefix
    rows += [("text_encoder", "cond_stage_model.transformer.text_model." + n, n) for n in tensors["text_encoder"]]
    rows += open_clip()
    (TINY / "original_names.txt").write_text("".join(" ".join(row) + "\n" for row in sorted(rows)))
    families()


main()
