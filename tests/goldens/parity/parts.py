"""The small networks that parity is measured with: configs as real checkpoints have them, but for the dimensions, and
weights that both sides compute from the tensors' names (engine/testing/tiny_model.h).

    python tests/goldens/parity/parts.py       writes parts/NAME/{config.json,tensors.txt}

Head dims are 40, 80 and 160 in `unet_sd15` and 64 in the others, as in Stable Diffusion 1.5, 2 and XL.
"""

import json
import pathlib

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, ControlNetModel, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

PARTS = pathlib.Path(__file__).resolve().parent / "parts"
VOCABULARY = 1214  # of engine/testdata/tokenizer


def text(cls, hidden, layers, act, **more):
    config = CLIPTextConfig(vocab_size=VOCABULARY, hidden_size=hidden, intermediate_size=2 * hidden, projection_dim=48,
                            num_hidden_layers=layers, num_attention_heads=hidden // 16, hidden_act=act,
                            bos_token_id=0, eos_token_id=2, pad_token_id=1, **more)
    model = cls(config)
    model.config.architectures = [cls.__name__]
    return model


def unet(channels, **more):
    levels = len(channels)
    plain = dict(block_out_channels=channels, layers_per_block=1, norm_num_groups=8, sample_size=8,
                 down_block_types=["CrossAttnDownBlock2D"] * (levels - 1) + ["DownBlock2D"],
                 up_block_types=["UpBlock2D"] + ["CrossAttnUpBlock2D"] * (levels - 1))
    return UNet2DConditionModel(**(plain | more))


def unet_xl(channels, **more):
    """Levels without attention at the picture's end, more layers a transformer, and numbers beside the time."""
    levels = len(channels)
    return unet(channels, use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=16,
                down_block_types=["DownBlock2D"] + ["CrossAttnDownBlock2D"] * (levels - 1),
                up_block_types=["CrossAttnUpBlock2D"] * (levels - 1) + ["UpBlock2D"], **more)


def unet_xl_small(in_channels):
    return unet_xl((64, 64), in_channels=in_channels, attention_head_dim=[1, 1], cross_attention_dim=96,
                   transformer_layers_per_block=[1, 2], projection_class_embeddings_input_dim=48 + 6 * 16)


def control(channels, **more):
    """What ControlNetModel.from_unet makes of a unet() of the same channels, but for a smaller embedding of its picture."""
    levels = len(channels)
    plain = dict(block_out_channels=channels, layers_per_block=1, norm_num_groups=8,
                 conditioning_embedding_out_channels=(8, 8, 16, 24),
                 down_block_types=["CrossAttnDownBlock2D"] * (levels - 1) + ["DownBlock2D"])
    return ControlNetModel(**(plain | more))


def vae(**more):
    return AutoencoderKL(block_out_channels=(8, 16, 16, 32), layers_per_block=1, norm_num_groups=4, latent_channels=4,
                         down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
                         sample_size=64, **more)


MAKE = {
    "text_l": lambda: text(CLIPTextModel, 32, 3, "quick_gelu"),
    "text_h": lambda: text(CLIPTextModel, 64, 3, "gelu"),
    "text_g": lambda: text(CLIPTextModelWithProjection, 64, 4, "gelu"),
    "vae": lambda: vae(),
    "vae_xl": lambda: vae(scaling_factor=0.13025, force_upcast=True),
    "unet_sd15": lambda: unet((40, 80, 160, 160), attention_head_dim=1, cross_attention_dim=32, layers_per_block=2),
    "unet_sd2": lambda: unet((64, 128, 128), attention_head_dim=[1, 2, 2], cross_attention_dim=64,
                             use_linear_projection=True, upcast_attention=True),
    "vae_taesd": lambda: AutoencoderTiny(encoder_block_out_channels=(24,) * 4, decoder_block_out_channels=(24,) * 4,
                                         num_encoder_blocks=(1, 2, 1, 1), num_decoder_blocks=(2, 1, 1, 1)),
    "unet_small": lambda: unet((40, 80), attention_head_dim=1, cross_attention_dim=32),
    "unet_lcm": lambda: unet((40, 80), attention_head_dim=1, cross_attention_dim=32, time_cond_proj_dim=24),
    "unet_photo": lambda: unet((40, 80), attention_head_dim=1, cross_attention_dim=32, in_channels=8),
    "unet_mask": lambda: unet((40, 80), attention_head_dim=1, cross_attention_dim=32, in_channels=9),
    "control_small": lambda: control((40, 80), attention_head_dim=1, cross_attention_dim=32),
    "control_other": lambda: control((40, 80), attention_head_dim=1, cross_attention_dim=32,
                                     conditioning_embedding_out_channels=(4, 8, 8, 16)),
    "control_sdxl": lambda: control((64, 64), attention_head_dim=[1, 1], cross_attention_dim=96,
                                    down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"],
                                    transformer_layers_per_block=[1, 2], use_linear_projection=True,
                                    addition_embed_type="text_time", addition_time_embed_dim=16,
                                    projection_class_embeddings_input_dim=48 + 6 * 16),
    "unet_sdxl_small": lambda: unet_xl_small(4),
    "unet_sdxl": lambda: unet_xl((64, 128, 128), attention_head_dim=[1, 2, 2], cross_attention_dim=96,
                                 transformer_layers_per_block=[1, 2, 3], projection_class_embeddings_input_dim=48 + 6 * 16),
    "unet_sdxl_photo": lambda: unet_xl_small(8),
    "unet_sdxl_mask": lambda: unet_xl_small(9),
    "unet_refiner": lambda: unet_xl((64, 64), attention_head_dim=[1, 1], cross_attention_dim=64,
                                    transformer_layers_per_block=2, projection_class_embeddings_input_dim=48 + 5 * 16),
}


def weights(name, shape):
    """Integers from splitmix64 over (FNV-1a of the name) + index, scaled by powers of two: exact in bf16."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 & (1 << 64) - 1
    count = int(np.prod(shape))
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        z = z ^ z >> np.uint64(31)
    if len(shape) == 1:
        whole = (z % np.uint64(63)).astype(np.int64) - 31
        values = whole / 128 + 1 if name.endswith("weight") else whole / 1024
    else:
        whole = (z % np.uint64(255)).astype(np.int64) - 127
        values = whole * 2.0 ** np.floor(np.log2(np.sqrt(3 / int(np.prod(shape[1:]))) / 127))
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


def build(part):
    model = MAKE[part]().eval()
    state = model.state_dict()
    for name in state:
        if "position_ids" not in name:
            state[name] = weights(name, state[name].shape)
    model.load_state_dict(state)
    return model


def config_of(model):
    if hasattr(model.config, "to_json_string"):
        return json.loads(model.config.to_json_string(use_diff=False))
    return json.loads(model.to_json_string())


def main():
    for part in MAKE:
        model = MAKE[part]()
        folder = PARTS / part
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config_of(model), indent=1, sort_keys=True) + "\n")
        tensors = [" ".join([name, *map(str, value.shape)]) for name, value in sorted(model.state_dict().items())
                   if "position_ids" not in name]
        (folder / "tensors.txt").write_text("\n".join(tensors) + "\n")
        print(part, len(tensors), "tensors,", sum(p.numel() for p in model.parameters()), "numbers")


if __name__ == "__main__":
    main()
