"""What keeps a LoRA from forgetting? Pictures of the class, drawn by the base itself (DreamBooth, arXiv 2208.12242, 3.3).

Shapes: m class pictures, c h w a picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..draw import Draw
from ..prompts import Prompt, TypedPrompt
from ..samplers._base import Callback
from ..sampling import sample_base
from ..stage import Stage

AT_ONCE = 8  # pictures a batch


@dataclass(frozen=True, kw_only=True)
class ClassPictures:
    """What a stage drew before it learned, and the prompt of each: what it shall still draw afterwards."""

    pictures: Tensor  # (m c h w) in [-1, 1]
    prompts: Sequence[Prompt]

    def __post_init__(self) -> None:
        if len(self.prompts) != len(self.pictures) or not self.prompts:
            raise ValueError(f"{len(self.prompts)} prompts for {len(self.pictures)} class pictures: give one each")


def draw_class(
    stage: Stage,
    prompts: Sequence[Prompt | TypedPrompt],
    count: int,
    *,
    side: int | None = None,
    seed: int = 0,
    callback: Callback | None = None,
    drawn: Callable[[int, int], None] | None = None,
) -> ClassPictures:
    """Draw `count` pictures, the prompts in turn, as the checkpoint recommends: picture i from the seed `seed` + i.

    side: of the pictures, in pixels; the stage's own where None. callback: a sampling callback; drawn(done, count) comes
    after each batch. Raises ValueError for no prompt, fewer pictures than prompts, or a stage that draws no text.
    """
    if not prompts:
        raise ValueError("no class prompts: name what the stage shall go on to draw as before")
    if count < len(prompts):
        raise ValueError(f"{count} class pictures for {len(prompts)} class prompts: ask for one each at least")
    read = [stage.read(prompt) for prompt in prompts]
    pictures: dict[int, Tensor] = {}
    for prompt, part in _batches(read, count):
        draw = Draw(seeds=[seed + i for i in part], steps=stage.spec.defaults.get("steps"), callback=callback)
        pictures.update(zip(part, sample_base(stage, prompt, draw, height=side, width=side), strict=True))
        if drawn is not None:
            drawn(len(pictures), count)
    return ClassPictures(
        pictures=torch.stack([pictures[i] for i in range(count)]), prompts=[read[i % len(read)] for i in range(count)]
    )


def _batches(prompts: Sequence[Prompt], count: int) -> Iterator[tuple[Prompt, range]]:
    """A prompt, and the numbers of some of its pictures."""
    for k, prompt in enumerate(prompts):
        mine = range(k, count, len(prompts))
        yield from ((prompt, mine[start : start + AT_ONCE]) for start in range(0, len(mine), AT_ONCE))
