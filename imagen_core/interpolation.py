"""What lies between two pictures? Embeddings and noises mixed along arcs (unCLIP, arXiv 2204.06125, section 3.2).

Shapes: n pictures of a row, e CLIP's common space, c h w a picture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .draw import Draw
from .image_embeds import slerp
from .inversion import invert
from .noise import BatchNoise
from .prompts import Asked, PicturedPrompt
from .samplers.ddim import DDIM
from .sampling import sample_base
from .stage import Stage


@dataclass(frozen=True, kw_only=True)
class End:
    """One end of a row."""

    embed: Tensor  # (1 e) of what is to be seen there
    seed: int  # of the noise that it is drawn from
    picture: Tensor | None = None  # (1 c h w) in [-1, 1]: what is to come out there; its own noise then, not the seed's


def interpolate(stage: Stage, prompt: Asked, ends: tuple[End, End], count: int, draw: Draw) -> Tensor:
    """`count` pictures (n c h w) in [-1, 1] from one end to the other, float32 on the CPU, by DDIM.

    draw: all but its seeds and sampler. An end with a picture is inverted first, at two calls of the network a step.
    Raises ValueError for fewer than 2 pictures, or ends that do not go together.
    """
    if count < 2:
        raise ValueError(f"{count} pictures have no two ends: ask for at least 2")
    size = stage.spec.native_side
    noises = [_noise(stage, prompt, end, draw, size) for end in ends]
    shares = torch.linspace(0.0, 1.0, count).tolist()
    embeds = torch.cat([slerp(ends[0].embed, ends[1].embed, share) for share in shares])
    x_T = torch.cat([slerp(*noises, share) for share in shares])
    run = replace(draw, seeds=range(count), sampler=DDIM(), x_T=x_T)
    return sample_base(stage, _seen(prompt, embeds), run, height=x_T.shape[-2], width=x_T.shape[-1])


def _noise(stage: Stage, prompt: Asked, end: End, draw: Draw, size: int) -> Tensor:
    if end.picture is None:
        return BatchNoise([end.seed])((stage.spec.unet_config.in_channels, size, size))
    given = replace(draw, seeds=[end.seed], callback=None)
    return invert(stage, _seen(prompt, end.embed), end.picture, given).x_T


def _seen(prompt: Asked, embeds: Tensor) -> PicturedPrompt:
    return PicturedPrompt(prompt=prompt.prompt if isinstance(prompt, PicturedPrompt) else prompt, image_embed=embeds)
