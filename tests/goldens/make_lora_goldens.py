"""Makes the goldens of LoRA with diffusers and PEFT in fp32: the text embedding and one UNet forward of the tiny model
(make_engine_goldens.py) with each set of LoRAs.

    python tests/goldens/make_lora_goldens.py      # from the repository's root

A LoRA is the list of its tensors, tests/goldens/lora/NAME.txt: a name and a shape a line, or `name = value` for an
alpha, or `metadata key value`. Both sides compute the numbers from the names, as they do the model's own, so that
neither lies in the repository. `locon` has what diffusers does not read (lora_mid) or reads wrongly (attention layers
with alphas of their own, which 0.39 leaves out with a warning): it is merged here by LyCORIS' formula. `sdxl` is for the
model of that name in parity/cases.json, with two text encoders, in kohya's names for SDXL: the original's blocks.

Needs torch, diffusers, transformers, peft and safetensors.
"""
import json
import pathlib
import sys
import tempfile

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from make_engine_goldens import GOLDENS, PROMPT, ROOT
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizerFast

sys.path.insert(0, str(GOLDENS / "parity"))
import make_goldens as parity
from noise import normal
from parts import weights

TINY = GOLDENS / "tiny"
LISTS = GOLDENS / "lora"
TEXT_ROWS = 3  # every third row of the embedding is kept
SETS = {"peft": {"peft": 1.0}, "kohya": {"kohya": 0.8}, "old": {"old": -0.5}, "several": {"peft": 0.6, "kohya": -0.4},
        "locon": {"locon": 0.7}}
RANK = 4

torch.set_grad_enabled(False)
torch.use_deterministic_algorithms(True)


def tiny_pipeline():
    names = [line.split() for line in (TINY / "tensors.txt").read_text().splitlines()]
    config = lambda part: json.loads((TINY / part / "config.json").read_text())
    parts = {"text_encoder": CLIPTextModel(CLIPTextConfig(**config("text_encoder"))),
             "unet": UNet2DConditionModel.from_config(config("unet")), "vae": AutoencoderKL.from_config(config("vae"))}
    for part, model in parts.items():
        state = model.state_dict()
        for component, name, *shape in names:
            if component == part:
                ours = name if name in state else "text_model." + name
                assert ours in state, ours
                state[ours] = weights(name, [int(dim) for dim in shape])
        model.load_state_dict(state)
        model.eval()
    tokenizer = CLIPTokenizerFast.from_pretrained(ROOT / "engine/testdata/tokenizer", model_max_length=77)
    return StableDiffusionPipeline(**parts, tokenizer=tokenizer, safety_checker=None, feature_extractor=None,
                                   scheduler=DDIMScheduler.from_pretrained(TINY / "scheduler"), requires_safety_checker=False)


def layers(pipeline):
    """The layers to be changed, by component: every kind of them there is."""
    chosen = {"unet": [], "text_encoder": []}
    kinds = ("to_q", "to_k", "to_v", "to_out.0", "proj_in", "ff.net.0.proj", "ff.net.2", "conv1", "conv_shortcut",
             "time_emb_proj", "downsamplers.0.conv", "upsamplers.0.conv", "conv_in", "conv_out", "linear_1")
    for name, module in pipeline.unet.named_modules():
        if hasattr(module, "weight") and module.weight.dim() >= 2 and name.endswith(kinds):
            chosen["unet"].append((name, list(module.weight.shape)))
    for name, module in pipeline.text_encoder.named_modules():
        if name.endswith(("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")):
            chosen["text_encoder"].append((name, list(module.weight.shape)))
    return chosen


def factors(shape, rank):
    """Shapes of down and up for a layer's weight."""
    if len(shape) == 2:
        return [rank, shape[1]], [shape[0], rank]
    return [rank, *shape[1:]], [shape[0], rank, 1, 1]


def line(name, shape):
    return " ".join([name, *map(str, shape)])


def list_peft(chosen):
    """As today's diffusers saves: alphas in the metadata, one of them a layer's own."""
    lines = []
    for part, found in chosen.items():
        for name, shape in found:
            down, up = factors(shape, RANK)
            lines += [line(f"{part}.{name}.lora_A.weight", down), line(f"{part}.{name}.lora_B.weight", up)]
    pattern = {"down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q": 6}
    settings = {"unet": {"lora_alpha": 2, "alpha_pattern": pattern},
                "text_encoder": {"lora_alpha": 8, "alpha_pattern": {}, "use_rslora": True}}
    metadata = {f"{part}.{key}": value for part, of_part in settings.items()
                for key, value in (of_part | {"r": RANK, "rank_pattern": {},
                                              "target_modules": [name for name, _ in chosen[part]]}).items()}
    return lines + ["metadata lora_adapter_metadata " + json.dumps(metadata, sort_keys=True)]


def list_kohya(chosen):
    """Ranks that differ from layer to layer, and one alpha."""
    lines = []
    for part, found in chosen.items():
        prefix = {"unet": "lora_unet_", "text_encoder": "lora_te_"}[part]
        for index, (name, shape) in enumerate(found):
            rank = 2 + index % 3
            down, up = factors(shape, rank)
            layer = prefix + name.replace(".", "_")
            lines += [line(layer + ".lora_down.weight", down), line(layer + ".lora_up.weight", up)]
            lines.append(f"{layer}.alpha = 3")
    return lines


def list_old(chosen):
    """The names diffusers gave before PEFT; attention only, without alphas."""
    lines = []
    for part, found in chosen.items():
        for name, shape in found:
            down, up = factors(shape, RANK)
            if part == "unet" and ".attn" in name:
                block, layer = name.split(".attn")[0], name.split(".attn")[1]
                attention, layer = layer.split(".", 1)
                stem = f"unet.{block}.attn{attention}.processor.{layer.replace('to_out.0', 'to_out')}_lora"
            elif part == "text_encoder" and "self_attn" in name:
                stem = f"text_encoder.{name}.lora_linear_layer"
            else:
                continue
            lines += [line(stem + ".down.weight", down), line(stem + ".up.weight", up)]
    return lines


def list_locon(chosen):
    """Alphas that differ from layer to layer, and convolutions in LyCORIS' decomposition."""
    lines = []
    for index, (name, shape) in enumerate(chosen["unet"]):
        layer = "lora_unet_" + name.replace(".", "_")
        down, up = factors(shape, 3)
        if len(shape) == 4 and shape[2] == 3:
            down, up = [3, shape[1], 1, 1], [shape[0], 2, 1, 1]
            lines.append(line(layer + ".lora_mid.weight", [2, 3, 3, 3]))
        lines += [line(layer + ".lora_down.weight", down), line(layer + ".lora_up.weight", up),
                  f"{layer}.alpha = {1 + index % 4}"]
    return lines


def original(name):
    """What the original Stable Diffusion calls a layer of the small SDXL's UNet: one resnet a level, 2 places a level."""
    words = name.split(".")
    resnet = {"conv1": "in_layers.2", "conv2": "out_layers.3", "time_emb_proj": "emb_layers.1",
              "conv_shortcut": "skip_connection"}
    if words[0] == "mid_block":
        place = "1" if words[1] == "attentions" else str(2 * int(words[2]))
        rest = ".".join(words[3:])
        return f"middle_block.{place}.{resnet.get(rest, rest)}"
    if words[0] not in ("down_blocks", "up_blocks"):
        return {"conv_in": "input_blocks.0.0", "conv_out": "out.2", "add_embedding.linear_1": "label_emb.0.0"}[name]
    block, kind, index, rest = int(words[1]), words[2], int(words[3]), ".".join(words[4:])
    if kind == "downsamplers":
        return f"input_blocks.{2 * block + 2}.0.op"
    blocks = f"input_blocks.{2 * block + 1 + index}" if words[0] == "down_blocks" else f"output_blocks.{2 * block + index}"
    if kind == "upsamplers":
        return f"output_blocks.{2 * block + 1}.2.conv"
    return f"{blocks}.{1 if kind == 'attentions' else 0}.{resnet.get(rest, rest)}"


def list_sdxl(pipeline):
    lines = []
    kinds = ("to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "conv1", "conv2",
             "conv_shortcut", "time_emb_proj", "downsamplers.0.conv", "upsamplers.0.conv", "conv_in", "conv_out",
             "add_embedding.linear_1")
    layers = []
    for name, module in pipeline.unet.named_modules():
        if hasattr(module, "weight") and module.weight.dim() >= 2 and name.endswith(kinds):
            layers.append(("lora_unet_" + original(name).replace(".", "_"), list(module.weight.shape)))
    for prefix, encoder in {"lora_te1_": pipeline.text_encoder, "lora_te2_": pipeline.text_encoder_2}.items():
        for name, module in encoder.named_modules():
            if name.endswith(("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")):
                layers.append((prefix + name.replace(".", "_"), list(module.weight.shape)))
    for index, (layer, shape) in enumerate(layers):
        down, up = factors(shape, 2 + index % 2)
        lines += [line(layer + ".lora_down.weight", down), line(layer + ".lora_up.weight", up), f"{layer}.alpha = 2"]
    return lines


def make_sdxl(folder, goldens):
    table = json.loads((GOLDENS / "parity/cases.json").read_text())
    case = next(case for case in table["cases"] if case["name"] == "sdxl")
    case["prompts"] = case["prompts"][:1]
    outputs = []
    for weight in (0, 0.8):
        pipeline = parity.pipeline(table["models"][case["model"]], table["schedulers"][case["scheduler"]])
        if weight:
            (LISTS / "sdxl.txt").write_text("\n".join(list_sdxl(pipeline)) + "\n")
            write("sdxl", pathlib.Path(folder) / "sdxl.safetensors")
            pipeline.load_lora_weights(folder, weight_name="sdxl.safetensors", adapter_name="sdxl")
            pipeline.set_adapters(["sdxl"], [weight])
        embedding, _, pooled, _ = parity.encode(pipeline, case)
        sample = normal(case["seed"], 0, (4, case["height"] // 8, case["width"] // 8))[None]
        outputs.append((embedding, pooled, parity.forward(pipeline, case, embedding, pooled, sample)))
    print("sdxl changes text, pooled and forward by", [round(((b - a).norm() / a.norm()).item(), 3) for a, b in zip(*outputs)])
    embedding, pooled, output = outputs[1]
    goldens |= {"sdxl.text": embedding[0, ::TEXT_ROWS], "sdxl.pooled": pooled[0], "sdxl.forward": output[0]}


def write(name, path):
    """The list's file: BF16, as the engine's tests write it."""
    tensors, metadata = {}, {}
    for text in (LISTS / f"{name}.txt").read_text().splitlines():
        if text.startswith("metadata "):
            _, key, metadata[key] = text.split(" ", 2)
        elif " = " in text:
            key, value = text.split(" = ")
            tensors[key] = torch.tensor(float(value))
        else:
            key, *shape = text.split()
            tensors[key] = weights(key, [int(dim) for dim in shape])
    save_file({k: v.to(torch.bfloat16) for k, v in tensors.items()}, path, metadata)


def merge_locon(pipeline, path, weight):
    tensors = {k: v.float() for k, v in load_file(path).items()}
    modules = {"lora_unet_" + n.replace(".", "_"): m for n, m in pipeline.unet.named_modules()}
    for layer in {key.split(".")[0] for key in tensors}:
        up, down = (tensors[f"{layer}.lora_{f}.weight"] for f in ("up", "down"))
        mid = tensors.get(f"{layer}.lora_mid.weight")
        if mid is None:
            delta = up.flatten(1) @ down.flatten(1)
        else:
            delta = torch.einsum("o i, i j k l, j p -> o p k l", up.flatten(1), mid, down.flatten(1))
        target = modules[layer].weight
        target += weight * tensors[f"{layer}.alpha"] / down.shape[0] * delta.reshape(target.shape)


def forward(pipeline):
    ids = pipeline.tokenizer(PROMPT, padding="max_length", truncation=True, return_tensors="pt").input_ids
    text = pipeline.text_encoder(ids).last_hidden_state
    latent = load_file(GOLDENS / "engine_tiny.safetensors")["noise"][None]
    return text, pipeline.unet(latent, 500, text).sample


def main():
    LISTS.mkdir(exist_ok=True)
    chosen = layers(tiny_pipeline())
    for kind, lister in {"peft": list_peft, "kohya": list_kohya, "old": list_old, "locon": list_locon}.items():
        (LISTS / f"{kind}.txt").write_text("\n".join(lister(chosen)) + "\n")
    goldens = {}
    plain = forward(tiny_pipeline())
    with tempfile.TemporaryDirectory() as folder:
        for name, loras in SETS.items():
            pipeline = tiny_pipeline()
            for lora, weight in loras.items():
                path = pathlib.Path(folder) / f"{lora}.safetensors"
                write(lora, path)
                if lora == "locon":
                    merge_locon(pipeline, path, weight)
                else:
                    pipeline.load_lora_weights(folder, weight_name=path.name, adapter_name=lora)
            if name != "locon":
                pipeline.set_adapters(list(loras), list(loras.values()))
            text, output = forward(pipeline)
            change = [((a - b).norm() / b.norm()).item() for a, b in zip((text, output), plain)]
            print(name, "changes text and forward by", [round(c, 3) for c in change])
            goldens[f"{name}.text"], goldens[f"{name}.forward"] = text[0, ::TEXT_ROWS].clone(), output[0]
        make_sdxl(folder, goldens)
    save_file({k: v.contiguous() for k, v in goldens.items()}, GOLDENS / "lora.safetensors", {"prompt": PROMPT})


if __name__ == "__main__":
    main()
