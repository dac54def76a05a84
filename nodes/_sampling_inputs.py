"""The inputs that every sampler node shares, and what their values mean to the core."""

from ..imagen_core import SAMPLERS, make_guidance
from . import _sockets

SAMPLER_TIP = (
    "dpmpp_2m: fast and exact, the default. dpmpp_2m_sde: the same with fresh noise each step. heun: two calls a step. "
    "ddim: deterministic, wants 50 steps or more. ddpm: the paper's ancestral sampler, wants 100 or more."
)


def seed_input() -> tuple:
    return (
        "INT",
        {
            "default": 0,
            "min": 0,
            "max": 2**53 - 1,
            "control_after_generate": True,
            "tooltip": "Same seed and same settings, same picture. Picture i of a batch uses seed + i, so that each can "
            "be drawn again alone.",
        },
    )


def steps_input(default: int) -> tuple:
    return (
        "INT",
        {
            "default": default,
            "min": 1,
            "max": 1000,
            "tooltip": f"How often the network is called. {default} is enough for dpmpp_2m; more costs time and changes "
            "little, very few blur.",
        },
    )


def sampler_input() -> tuple:
    names = sorted(SAMPLERS, key=lambda name: (name != "dpmpp_2m", name))
    return (names, {"default": "dpmpp_2m", "tooltip": SAMPLER_TIP})


def guidance_scale_input(default: float, tooltip: str) -> tuple:
    return ("FLOAT", {"default": default, "min": 1.0, "max": 50.0, "step": 0.1, "tooltip": tooltip})


def optional_inputs() -> dict:
    return {
        "guidance": (
            _sockets.GUIDANCE,
            {"tooltip": "From Imagen Guidance: how guidance is applied. Without it, plain classifier-free guidance."},
        ),
        "threshold": (
            _sockets.THRESHOLD,
            {"tooltip": "From Imagen Threshold. Without it, dynamic thresholding at 99.5 %, as in the paper."},
        ),
    }


def settings(seed, batch, steps, sampler, guidance_scale, guidance, threshold, callback) -> dict:
    """Widget values as the keyword arguments of the core's sampling functions."""
    return {
        "seeds": range(seed, seed + batch),
        "steps": steps,
        "sampler": SAMPLERS[sampler](),
        "guidance": make_guidance(guidance, scale=guidance_scale),
        "thresholding": threshold,
        "callback": callback,
    }
