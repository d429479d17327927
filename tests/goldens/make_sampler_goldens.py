"""Writes engine/testdata/sampler_goldens.json: latents of diffusers' DDIM, Euler and DPM++ 2M.

    python tests/goldens/make_sampler_goldens.py        (torch, diffusers 0.42)

The "model" is a fixed function of the scaled input and the timestep, so that nothing but the update
rule is compared: output = 0.9 tanh(input) + 0.1 sin(t / 100). samplers_test.cc computes the same.
"""

import itertools
import json
import os
import warnings

import numpy as np
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler

LATENT = 16
CLASSES = {
    "ddim": DDIMScheduler,
    "euler": EulerDiscreteScheduler,
    "dpmpp_2m": DPMSolverMultistepScheduler,
}


def initial_noise():
    return torch.tensor([np.float32(np.sin(1.7 * i + 0.3) * 1.5) for i in range(LATENT)])


def run(kind, config, steps):
    scheduler = CLASSES[kind](**config)
    scheduler.set_timesteps(steps)
    latent = initial_noise() * torch.as_tensor(scheduler.init_noise_sigma, dtype=torch.float32)
    first = None
    for t in scheduler.timesteps:
        x = scheduler.scale_model_input(latent, t)
        output = 0.9 * torch.tanh(x) + 0.1 * torch.sin(t.float() / 100)
        latent = scheduler.step(output, t, latent).prev_sample
        first = latent if first is None else first
    return {
        "sampler": kind,
        "config": config,
        "steps": steps,
        "initial_noise_sigma": float(f"{float(scheduler.init_noise_sigma):.9g}"),
        "timesteps": [float(f"{t:.9g}") for t in scheduler.timesteps],
        "first": [float(f"{v:.9g}") for v in first],
        "final": [float(f"{v:.9g}") for v in latent],
    }


def cases():
    sd = dict(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012)
    for kind, prediction, spacing, beta in itertools.product(
        CLASSES,
        ("epsilon", "v_prediction", "sample"),
        ("leading", "trailing", "linspace"),
        ("scaled_linear", "linear"),
    ):
        config = dict(sd, prediction_type=prediction, timestep_spacing=spacing, beta_schedule=beta)
        if spacing == "leading":
            config["steps_offset"] = 1
        if kind == "ddim":
            config.update(clip_sample=False, set_alpha_to_one=False)
        yield kind, config, 20
    # Each other switch once, and the ends of the range of steps.
    base = dict(
        sd,
        prediction_type="epsilon",
        beta_schedule="scaled_linear",
        timestep_spacing="leading",
        steps_offset=1,
    )
    yield "ddim", dict(base, clip_sample=False, set_alpha_to_one=True), 20
    yield "ddim", dict(base, clip_sample=True, clip_sample_range=1.5, set_alpha_to_one=False), 20
    yield "dpmpp_2m", dict(base, euler_at_final=True, final_sigmas_type="sigma_min"), 20
    for steps in (8, 20):
        yield "euler", dict(base, final_sigmas_type="sigma_min"), steps
        yield "dpmpp_2m", dict(base, final_sigmas_type="sigma_min"), steps
        yield "dpmpp_2m", dict(base, final_sigmas_type="sigma_min", lower_order_final=False), steps
    for kind, spacing, steps in itertools.product(
        CLASSES, ("leading", "trailing", "linspace"), (1, 2, 7, 150)
    ):
        config = dict(base, timestep_spacing=spacing)
        if kind == "ddim":
            config.update(clip_sample=False, set_alpha_to_one=False)
        yield kind, config, steps


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
