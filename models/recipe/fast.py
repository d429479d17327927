"""Speeds up diffusers' modules for training on a CPU without changing what they compute.

`speed_up(module)` replaces, in place, GroupNorm (+ SiLU) of ResNet blocks, of the VAE's and the
UNet's output stages and of transformer and attention blocks by the fused operation of
fused_norm.cpp. Parameter names stay as diffusers has them, so state dicts map one to one.
"""
import pathlib
import platform

import torch
from diffusers.models.resnet import ResnetBlock2D
from torch.utils.cpp_extension import load

_HERE = pathlib.Path(__file__).resolve().parent
_FLAGS = ["-O3", "-march=native", "-ffast-math", "-fopenmp-simd"]
if platform.machine() == "x86_64":
    _FLAGS.append("-mprefer-vector-width=512")
_OPS = load(name="fused_norm", sources=[str(_HERE / "fused_norm.cpp")], extra_cflags=_FLAGS,
            verbose=False)


class _FusedNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, groups, eps, silu):
        x = x.contiguous(memory_format=torch.channels_last)
        w, b = weight.float(), bias.float()
        y, mean, rstd = _OPS.forward(x, w, b, groups, eps, silu)
        ctx.save_for_backward(x, w, b, mean, rstd)
        ctx.silu, ctx.dtype = silu, weight.dtype
        return y

    @staticmethod
    def backward(ctx, dy):
        x, w, b, mean, rstd = ctx.saved_tensors
        dx, dw, db = _OPS.backward(dy, x, w, b, mean, rstd, ctx.silu)
        return dx, dw.to(ctx.dtype), db.to(ctx.dtype), None, None, None


class FusedGroupNorm(torch.nn.GroupNorm):
    silu = False

    def forward(self, x):
        if x.dtype != torch.bfloat16 or x.dim() != 4:
            y = super().forward(x)
            return torch.nn.functional.silu(y) if self.silu else y
        return _FusedNorm.apply(x, self.weight, self.bias, self.num_groups, self.eps, self.silu)


def _resnet_forward(self, x, temb=None, *args, **kwargs):
    h = self.conv1(self.norm1(x))
    if temb is not None and self.time_emb_proj is not None:
        h = h + self.time_emb_proj(torch.nn.functional.silu(temb))[:, :, None, None]
    h = self.conv2(self.norm2(h))
    return h + (self.conv_shortcut(x) if self.conv_shortcut is not None else x)


def speed_up(module):
    for child in module.modules():
        if isinstance(child, torch.nn.GroupNorm):
            child.__class__ = FusedGroupNorm
    for child in module.modules():
        if isinstance(child, ResnetBlock2D):
            if child.upsample is not None or child.downsample is not None:
                raise ValueError("speed_up: a ResNet block that resamples is not supported")
            child.norm1.silu = child.norm2.silu = True
            child.forward = _resnet_forward.__get__(child)
        if hasattr(child, "conv_norm_out") and hasattr(child, "conv_act"):
            child.conv_norm_out.silu = True
            child.conv_act = torch.nn.Identity()
    return module
