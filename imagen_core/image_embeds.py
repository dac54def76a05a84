"""What can be done with CLIP's embeddings of pictures? They are mixed, moved, noised (unCLIP, arXiv 2204.06125, section 3).

Shapes: b pictures, e CLIP's common space. Embeddings are as CLIP's projection gives them: not normalised.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from .clip.model import Clip
from .conditioning import TextEmbeds
from .prompts import Asked, PicturedPrompt
from .schedules.cosine import CosineSchedule
from .text.reading import AS_CLIP

PARALLEL = 1e-4  # radians; between directions as near to each other, or to opposites, a straight line serves


@torch.inference_mode()
def image_embeds(clip: Clip, pixels: Tensor) -> Tensor:
    """Pictures (b 3 h w) in [-1, 1], of any size, as CLIP's projection gives them: (b e) float32, on the CPU."""
    return clip.project_pixels(pixels).cpu()


def slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """From a (t = 0) to b (t = 1) along the arc between them, row by row (b ...); their lengths are mixed in proportion.

    Section 3.2: of embeddings, and of the noise that pictures are drawn from.
    """
    first, second = (_flat(x, like=a, other=b) for x in (a, b))
    lengths = torch.lerp(first.norm(dim=1), second.norm(dim=1), t)[:, None]
    one, other = F.normalize(first, dim=1), F.normalize(second, dim=1)
    angle = (one * other).sum(1, keepdim=True).clamp(-1.0, 1.0).acos()
    near = (angle < PARALLEL) | (angle > torch.pi - PARALLEL)
    safe = angle.where(~near, torch.ones_like(angle))
    arc = (((1.0 - t) * safe).sin() * one + (t * safe).sin() * other) / safe.sin()
    mixed = arc.where(~near, torch.lerp(one, other, t))
    return (lengths * mixed).view(-1, *a.shape[1:])


def lerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """From a (t = 0) to b (t = 1) in a straight line, row by row (b ...)."""
    return torch.lerp(_flat(a, like=a, other=b), _flat(b, like=a, other=b), t).view(-1, *a.shape[1:])


MIXINGS: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {"slerp": slerp, "lerp": lerp}


def _flat(x: Tensor, *, like: Tensor, other: Tensor) -> Tensor:
    """Rows (b n) in float32, of two tensors of which one may have a single row."""
    rows = max(len(like), len(other))
    if like.shape[1:] != other.shape[1:] or not {len(like), len(other)} <= {1, rows}:
        raise ValueError(
            f"{tuple(like.shape)} and {tuple(other.shape)} cannot be mixed: both have to come from one CLIP or prior, as "
            "many of the one as of the other, or one alone"
        )
    return x.float().flatten(1).expand(rows, -1)


def moved_by_texts(embeds: Tensor, text: TextEmbeds, from_text: TextEmbeds, t: float) -> Tensor:
    """Embeddings (b e) turned by t of the way towards what one text says that another does not (section 3.3).

    t: 0.25 to 0.5 in the paper. Raises ValueError for texts without `pooled`, that say the same, or of another width.
    """
    if text.pooled is None or from_text.pooled is None:
        raise ValueError(
            "these texts have no place in CLIP's common space: encode them with the whole CLIP's text encoder"
        )
    difference = text.pooled.to(embeds) - from_text.pooled.to(embeds)
    if (difference.norm(dim=1) < 1e-6).any():
        raise ValueError("both texts say the same, and there is nothing to move by: let one say what is to change")
    lengths = embeds.norm(dim=1, keepdim=True)
    return slerp(embeds, lengths * F.normalize(difference, dim=1), t)


def read_as_clip(prompt: Asked) -> TextEmbeds:
    """What CLIP's text encoder says of a prompt, its negative left out."""
    return prompt.as_read(AS_CLIP).text


def noised(embeds: Tensor, level: float, seed: int) -> Tensor:
    """Embeddings (b e) under noise of their own size: at level 0 untouched, at 1 noise alone, on the cosine schedule.

    The same of them whoever is drawn beside: row i has the noise of seed + i.
    """
    if not 0.0 <= level <= 1.0:
        raise ValueError(f"noise_augmentation {level} is outside [0, 1]: 0 is off, 0.2 lets the picture stray")
    if level == 0.0:
        return embeds
    alpha, sigma = CosineSchedule().alpha_sigma(torch.tensor(level, dtype=torch.float64))
    rows = [torch.randn(embeds.shape[1], generator=torch.Generator().manual_seed(seed + i)) for i in range(len(embeds))]
    size = embeds.square().mean(1, keepdim=True).sqrt()
    return alpha.item() * embeds + sigma.item() * size * torch.stack(rows).to(embeds)


def with_image_embed(
    prompt: Asked, embeds: Tensor, *, strength: float = 1.0, noise_augmentation: float = 0.0, seed: int = 0
) -> PicturedPrompt:
    """A prompt and embeddings (b e) of what is to be seen; those that it has already are added to.

    strength: what they are multiplied by. Raises ValueError for embeddings that do not go together.
    """
    told = strength * noised(embeds.float().cpu(), noise_augmentation, seed)
    before = getattr(prompt, "image_embed", None)
    if before is not None:
        told = _flat(told, like=told, other=before) + _flat(before, like=told, other=before)
    inner = prompt.prompt if isinstance(prompt, PicturedPrompt) else prompt
    return PicturedPrompt(prompt=inner, image_embed=told)
