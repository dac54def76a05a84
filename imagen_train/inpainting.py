"""How does a network that draws learn to repaint? Four more channels at its stem, from zero (GLIDE, arXiv 2112.10741, 3.2).

It is shown a picture with parts erased, and a mask; only what is drawn in the holes counts, as sampling keeps the rest.
Shapes: b images, c h w a picture, in [-1, 1]. A hole is (b 1 h w), 1 where the picture is to be drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from imagen_core.conditioning import Signals
from imagen_core.draw import Draw
from imagen_core.guidance.classifier_free import ClassifierFreeGuidance
from imagen_core.inpainting import InitImage, shown
from imagen_core.sampling import sample_base
from imagen_core.stage import Prompt
from imagen_core.unets import UNetConfig

from .loop import Preview
from .options import TrainOptions
from .plans import StagePlan
from .sheets import grid
from .tasks import BaseTask, _to

if TYPE_CHECKING:
    from imagen_core.text.t5 import T5TextEncoder

WHOLE, BOX, FRAME = 0.1, 0.5, 0.65  # of all holes: everything, a box, all but a box; the others are strokes
HEAVIEST = 4.0  # what a small hole counts, at most, beside one that is everything


def random_holes(count: int, side: int, generator: torch.Generator) -> Tensor:
    """(count 1 side side): boxes, all but boxes, thick strokes, and now and then everything."""
    boxes, kind = _boxes(count, side, generator), torch.rand(count, 1, 1, generator=generator)
    holes = torch.where(kind < BOX, boxes, torch.where(kind < FRAME, 1.0 - boxes, _strokes(count, side, generator)))
    return torch.where(kind < WHOLE, 1.0, holes)[:, None]


def _grid(side: int) -> tuple[Tensor, Tensor]:
    """x and y of each pixel's middle in [0, 1], (1 h w)."""
    places = (torch.arange(side) + 0.5) / side
    return places.expand(1, side, side), places[:, None].expand(1, side, side)


def _boxes(count: int, side: int, generator: torch.Generator) -> Tensor:
    """(b h w): a box of a fifth to nine tenths of the picture's sides, wholly inside."""
    width, height = 0.2 + 0.7 * torch.rand(2, count, 1, 1, generator=generator)
    left, top = torch.rand(2, count, 1, 1, generator=generator) * (1.0 - torch.stack([width, height]))
    x, y = _grid(side)
    return ((x >= left) & (x <= left + width) & (y >= top) & (y <= top + height)).float()


def _strokes(count: int, side: int, generator: torch.Generator) -> Tensor:
    """(b h w): within a radius of a line of three pieces."""
    ends = torch.rand(4, 2, count, 1, 1, generator=generator)
    radius = 0.05 + 0.12 * torch.rand(count, 1, 1, generator=generator)
    x, y = _grid(side)
    near = torch.zeros(count, side, side, dtype=torch.bool)
    for (x_0, y_0), (x_1, y_1) in zip(ends[:-1], ends[1:], strict=True):
        along = ((x - x_0) * (x_1 - x_0) + (y - y_0) * (y_1 - y_0)) / ((x_1 - x_0) ** 2 + (y_1 - y_0) ** 2 + 1e-6)
        along = along.clamp(0.0, 1.0)
        near |= (x - x_0 - along * (x_1 - x_0)) ** 2 + (y - y_0 - along * (y_1 - y_0)) ** 2 <= radius**2
    return near.float()


def seen(x_0: Tensor, holes: Tensor) -> Signals:
    """What the stem sees of the pictures besides x_t, as sampling shows it."""
    told = shown(InitImage(pixels=x_0, mask=holes), tuple(x_0.shape), x_0.device)
    return Signals(pixels=torch.cat([told["known"], told["mask"]], dim=1))


def with_wider_stems(
    weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor], config: UNetConfig
) -> dict[str, Tensor]:
    """A U-ViT's weights for one that is shown more: zeros behind the channels of x_t, so that nothing changes at first."""
    return {
        key: config.shown_more(key, weight, wanted[key].shape[1]) if key in wanted and weight.ndim > 1 else weight
        for key, weight in weights.items()
    }


class InpaintTask(BaseTask):
    """Text and a picture with a hole -> the hole, 64 px."""

    def __init__(self, plan: StagePlan, options: TrainOptions, encoder: T5TextEncoder) -> None:
        if plan.prediction_type != "x_0":
            raise ValueError(
                f"repainting is taught to networks that predict x_0, and this one predicts {plan.prediction_type}"
            )
        super().__init__(plan, options, encoder)
        self.holes: Tensor | None = None  # of the last batch

    def _shown_besides(
        self, model: nn.Module, x_0: Tensor, cond: Signals, times: Tensor, noise: Tensor, generator: torch.Generator
    ) -> Signals:
        self.holes = random_holes(len(x_0), x_0.shape[-1], generator).to(x_0.device)
        return cond + seen(x_0, self.holes)

    def _loss(
        self,
        network: nn.Module,
        x_0: Tensor,
        cond: Signals,
        times: Tensor,
        noise: Tensor,
        image_weight: Tensor | None = None,
    ) -> Tensor:
        """Of the holes alone; small ones count more, as theirs are few pixels of the mean."""
        holes = self.holes
        weight = (1.0 / holes.mean((1, 2, 3))).clamp(max=HEAVIEST)
        in_holes = lambda x_t, time, told: x_0.lerp(network(x_t, time, told).to(x_0.dtype), holes)
        return super()._loss(
            in_holes, x_0, cond, times, noise, weight if image_weight is None else weight * image_weight
        )

    def _shown_of(self, x_0: Tensor) -> Signals:
        return seen(x_0, self._held_out_holes(len(x_0)))

    def _held_out_holes(self, count: int) -> Tensor:
        return random_holes(count, self.cache.usual_shape[0], torch.Generator().manual_seed(0)).to(self.device)

    def preview(self, model: nn.Module) -> Preview:
        """Rows: held-out pictures with holes, repainted, whole. Figures: the error in the holes besides those of a base."""
        rows = self.shown.alike(12)
        truth, holes = self.shown.pictures(rows).to(self.device), self._held_out_holes(len(rows))
        drawn = sample_base(
            self.stage(model),
            Prompt(text=_to(self.texts.encoder.encode([self.shown.captions[i] for i in rows]), self.device)),
            Draw(
                seeds=range(len(rows)),
                steps=20,
                guidance=ClassifierFreeGuidance(scale=self.plan.defaults["guidance_scale"]),
                init=InitImage(pixels=truth, mask=holes),
            ),
            height=truth.shape[-2],
            width=truth.shape[-1],
        ).to(self.device)
        error = (drawn - truth).square().mean((1, 2, 3)) / holes.mean((1, 2, 3))
        picture = grid(torch.cat([truth * (1.0 - holes), drawn, truth]), columns=12, scale=2)
        return Preview(picture=picture, figures={"hole_mse": error.mean().item(), **self._errors(model)})
