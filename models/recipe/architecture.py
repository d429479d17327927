"""The shape of the built-in model: three small networks of diffusers' and transformers' classes."""
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

AUTOENCODER = dict(
    in_channels=3, out_channels=3, latent_channels=4, sample_size=256,
    down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
    block_out_channels=[32, 64, 96, 128], layers_per_block=1, norm_num_groups=16)

UNET = dict(
    sample_size=32, in_channels=4, out_channels=4, layers_per_block=1,
    down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    block_out_channels=[64, 96, 160], attention_head_dim=4, cross_attention_dim=128,
    norm_num_groups=16, flip_sin_to_cos=True, freq_shift=0)

TEXT_ENCODER = dict(
    hidden_size=128, intermediate_size=512, num_hidden_layers=3, num_attention_heads=4,
    projection_dim=128, max_position_embeddings=77, hidden_act="quick_gelu", layer_norm_eps=1e-5)

# "scheduler" is diffusers' word for a sampler with its noise schedule.
SAMPLER = dict(
    num_train_timesteps=1000, beta_start=0.00085, beta_end=0.02, beta_schedule="scaled_linear",
    prediction_type="v_prediction", timestep_spacing="trailing", steps_offset=1,
    algorithm_type="dpmsolver++", solver_order=2,
    solver_type="midpoint", lower_order_final=True)


def make_autoencoder():
    return AutoencoderKL(**AUTOENCODER)


def make_unet():
    return UNet2DConditionModel(**UNET)


def make_text_encoder(tokenizer):
    return CLIPTextModel(CLIPTextConfig(
        vocab_size=len(tokenizer), bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        **TEXT_ENCODER))


def make_sampler():
    return DPMSolverMultistepScheduler(**SAMPLER)
