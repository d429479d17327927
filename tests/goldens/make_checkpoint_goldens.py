"""Which of diffusers' tensors each tensor of a single-file checkpoint is, as diffusers' own converters have it.

    python tests/goldens/make_checkpoint_goldens.py      # writes tests/goldens/tiny/original_names.txt

The names of the original layout are made up here by the inverse rules and put through the converters with a number
in each tensor; a name that they would not take, or a tensor that nothing became, ends the script.
"""
import json
import pathlib
import re

import torch
from diffusers.loaders.single_file_utils import (convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint,
                                                 convert_open_clip_checkpoint)

TINY = pathlib.Path(__file__).parent / "tiny"
RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
          "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def unet_name(name, config):
    each = config["layers_per_block"] + 1
    fixed = {"conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
             "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2"}
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


main()
