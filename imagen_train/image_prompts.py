"""How does a network learn to draw what a picture shows, and not the picture? From references that are turned and cut anew.

Shapes: b images, h w pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from imagen_core import AdapterSpec, Control, LoadedAdapter, TextEmbeds, resize
from imagen_core.adapters import Adapter, Given
from imagen_core.conditioning import Signals

from .controls import SHOWN, ControlTask
from .following import palette_error
from .loop import Preview
from .sheets import grid

DROPPED = 0.1  # of references: what the null branch reads (2308.06721, section 4.1.2 takes 0.05 twice)
SMALLEST = 0.6  # of a picture's sides, that is kept of it


def references_of(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Each picture (b 3 h w) mirrored at random and cut to a part of it, so that its layout is not what is learned."""
    height, width = pictures.shape[-2:]
    found = []
    for picture, (flip, share, down, right) in zip(
        pictures, torch.rand(len(pictures), 4, generator=generator), strict=True
    ):
        kept = SMALLEST + (1.0 - SMALLEST) * float(share)
        rows, columns = max(1, round(kept * height)), max(1, round(kept * width))
        top, left = int(down * (height - rows + 1)), int(right * (width - columns + 1))
        cut = picture[None, :, top : top + rows, left : left + columns]
        found.append(resize(cut.flip(3) if flip < 0.5 else cut, (height, width)))
    return torch.cat(found)


class ImagePromptTask(ControlTask):
    """The loss of an image prompt: pictures under references made of them, some of them dropped."""

    def _given(self, x_0: Tensor, text: TextEmbeds | None, base: Signals, generator: torch.Generator) -> Given:
        references = references_of(x_0, generator)
        dropped = (torch.rand(len(x_0), generator=generator) < DROPPED).to(x_0.device)
        references = references.masked_fill(dropped[:, None, None, None], 0.0)
        return Given(picture=references, kind=torch.zeros(len(x_0), device=x_0.device), text=text, base=base)

    def preview(self, model: Adapter) -> Preview:
        """Rows: held-out references, and what is drawn of them in their own captions' words."""
        pictures = self.shown.pictures(range(min(SHOWN, len(self.shown)))).to(self.device)
        loaded = LoadedAdapter(network=model, spec=AdapterSpec.of(model, self.stage))
        drawn = self.drawn(pictures, self.shown.captions, [Control(adapter=loaded, picture=pictures)])
        figures = {"palette_error": palette_error(drawn, pictures.cpu()).mean().item()}
        return Preview(picture=grid(torch.cat([pictures.cpu(), drawn]), columns=len(pictures)), figures=figures)
