"""Writes engine/testdata/sampler_goldens.json: latents of diffusers' samplers after every step.

    python tests/goldens/make_sampler_goldens.py        (torch, diffusers)

The "model" is a fixed function of the scaled input and the timestep, so that nothing but the update
rule is compared: output = 0.9 tanh(input) + 0.1 sin(t / 100). Noise is one too: element i of draw d is
1.5 sin(1.7 i + 2.3 d + 0.3); draw 0 is the initial latent, d the d-th that the sampler asks for.
samplers_test.cc computes the same.
"""

import itertools
import json
import os
import warnings

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
)
from diffusers.schedulers import scheduling_euler_ancestral_discrete, scheduling_lcm

LATENT = 4
CLASSES = {
    "ddim": DDIMScheduler,
    "euler": EulerDiscreteScheduler,
    "euler_a": EulerAncestralDiscreteScheduler,
    "dpmpp_2m": DPMSolverMultistepScheduler,
    "dpmpp_2m_karras": DPMSolverMultistepScheduler,
    "lcm": LCMScheduler,
}
OVER_ALPHAS = ("ddim", "lcm")


def draw(number):
    values = [np.float32(np.sin(1.7 * i + 2.3 * number + 0.3) * 1.5) for i in range(LATENT)]
    return torch.tensor(values)


class Draws:
    def __init__(self):
        self.number = 0

    def __call__(self, shape, **_):
        self.number += 1
        return draw(self.number).reshape(shape)


def nine(value):
    return float(f"{float(value):.9g}")


def begin(scheduler, kind, steps, strength):
    """The timesteps that are left, as in diffusers' image-to-image pipelines."""
    if kind == "lcm":
        scheduler.set_timesteps(steps, strength=strength)
        return scheduler.timesteps
    scheduler.set_timesteps(steps)
    first = steps - min(int(steps * strength), steps)
    if strength < 1 and hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(first)
    return scheduler.timesteps[first:]


def run(kind, config, steps, strength=1.0):
    draws = Draws()
    scheduling_euler_ancestral_discrete.randn_tensor = draws
    scheduling_lcm.randn_tensor = draws
    extra = {"use_karras_sigmas": True} if kind == "dpmpp_2m_karras" else {}
    scheduler = CLASSES[kind](**config, **extra)
    timesteps = begin(scheduler, kind, steps, strength)
    clean = torch.linspace(-1, 1, LATENT)
    if strength < 1:
        latent = scheduler.add_noise(clean, draw(0), timesteps[:1])
    else:
        latent = draw(0) * torch.as_tensor(scheduler.init_noise_sigma, dtype=torch.float32)
    latents, renoised = [], None
    for i, t in enumerate(timesteps):
        x = scheduler.scale_model_input(latent, t)
        output = 0.9 * torch.tanh(x) + 0.1 * torch.sin(t.float() / 100)
        latent = scheduler.step(output, t, latent).prev_sample
        latents.append([nine(v) for v in latent])
        if i == 0 and len(timesteps) > 1:
            renoised = scheduler.add_noise(clean, draw(0), timesteps[1:2])
    golden = {
        "sampler": kind,
        "config": config,
        "steps": steps,
        "strength": strength,
        "initial_noise_sigma": nine(scheduler.init_noise_sigma),
        "timesteps": [nine(t) for t in timesteps],
        "latents": latents,
    }
    if renoised is not None:
        golden["renoised"] = [nine(v) for v in renoised]
    return golden


SD = dict(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
SPACINGS = ("leading", "trailing", "linspace")


def for_kind(kind, config):
    config = dict(config)
    if config.get("timestep_spacing") == "leading":
        config["steps_offset"] = 1
    if kind in OVER_ALPHAS:
        config.update(clip_sample=False, set_alpha_to_one=False)
    if kind == "lcm":
        config.pop("timestep_spacing", None)
        config.pop("steps_offset", None)
    return config


def cases():
    for kind, prediction, spacing, beta in itertools.product(
        CLASSES, ("epsilon", "v_prediction", "sample"), SPACINGS, ("scaled_linear", "linear")
    ):
        if kind == "euler_a" and prediction == "sample" or kind == "lcm" and spacing != "leading":
            continue
        config = dict(SD, prediction_type=prediction, timestep_spacing=spacing, beta_schedule=beta)
        yield kind, for_kind(kind, config), 8 if kind == "lcm" else 20
    # Starts at a picture.
    for kind, spacing, strength in itertools.product(CLASSES, SPACINGS, (0.8, 0.3)):
        if kind != "lcm" or spacing == "leading":
            yield kind, for_kind(kind, dict(SD, timestep_spacing=spacing)), 10, strength
    # A last timestep without signal.
    for kind in CLASSES:
        config = dict(SD, prediction_type="v_prediction", timestep_spacing="trailing", rescale_betas_zero_snr=True)
        yield kind, for_kind(kind, config), 12
    # Each other switch once, and the ends of the range of steps.
    base = dict(SD, timestep_spacing="leading", steps_offset=1)
    yield "ddim", dict(base, clip_sample=False, set_alpha_to_one=True), 20
    yield "ddim", dict(base, clip_sample=True, clip_sample_range=1.5, set_alpha_to_one=False), 20
    yield "dpmpp_2m", dict(base, euler_at_final=True, final_sigmas_type="sigma_min"), 20
    yield "euler", dict(base, use_karras_sigmas=True), 20
    yield "euler", dict(base, use_karras_sigmas=True, final_sigmas_type="sigma_min"), 10, 0.5
    yield "lcm", dict(SD, original_inference_steps=40, timestep_scaling=7.5, clip_sample=True), 4
    for steps in (8, 20):
        yield "euler", dict(base, final_sigmas_type="sigma_min"), steps
        for kind in ("dpmpp_2m", "dpmpp_2m_karras"):
            yield kind, dict(base, final_sigmas_type="sigma_min"), steps
            yield kind, dict(base, final_sigmas_type="sigma_min", lower_order_final=False), steps
    for kind, spacing, steps in itertools.product(CLASSES, SPACINGS, (1, 2, 7, 50)):
        if kind != "lcm" or spacing == "leading":
            yield kind, for_kind(kind, dict(SD, timestep_spacing=spacing)), steps


def main():
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    path = os.path.join(os.path.dirname(__file__), "../../engine/testdata/sampler_goldens.json")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    goldens = [run(*case) for case in cases()]
    with open(path, "w") as out:
        out.write("[\n" + ",\n".join(json.dumps(golden) for golden in goldens) + "\n]\n")
    print(f"{len(goldens)} runs, {os.path.getsize(path)} bytes")


if __name__ == "__main__":
    main()
