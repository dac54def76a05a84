"""How is a picture asked to follow a hint? A control, what it reads, how strongly, when and where.

Shapes: b images, k hints, h w pixels. Pictures are in [-1, 1], masks in [0, 1].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .adapters import COMBINE, LINEAR, Given
from .adapters._base import padded
from .adapters._layer_weights import layer_weights
from .checkpoints.adapter_files import LoadedAdapter
from .conditioning import Signals, TextEmbeds
from .hints import FITS, fitted, kind_of, resizing_of
from .key_points import check_key_points
from .progress import check_interval
from .steering import Steering

if TYPE_CHECKING:
    from .stage import Prompt, Stage


@dataclass(frozen=True, kw_only=True)
class Control:
    """One control with its hint; a run may have several, which add up."""

    adapter: LoadedAdapter
    # (k 3 h w) of any size: one hint, or one an image; or of an image prompt what CLIP sees in references, (k e)
    picture: Tensor
    kind: str | None = None  # of hint; None: told from the picture among those that the control reads
    strength: float = 1.0  # 0 is off
    start: float = 0.0  # the part of the way from noise (0) to picture (1) on which it works: a percent of the schedule
    end: float = 1.0
    curve: str = "constant"  # how its strength goes on that part; see `strength_at`
    mask: Tensor | None = None  # (k 1 h w) over the picture that is drawn: where it works
    apply_to_null: bool = True  # whether guidance's null branch follows it too; without, guidance pulls towards it
    fit: str = "pad"  # what happens where the hint has other proportions than the picture; see `fitted`
    combine: str | None = None  # of an image prompt, how several references become one (of COMBINE); None: one an image
    weight_type: str = LINEAR  # of an image prompt, how much it counts in which layer: one of WEIGHT_TYPES
    # (k 3 h w) of any size: of an identity, how it is to stand; None: as words and noise say. `strength` is then of what is
    # read beside the text alone
    key_points: Tensor | None = None
    key_points_strength: float = 1.0  # of what follows them; 0 is off

    def __post_init__(self) -> None:
        check_interval(self.start, self.end)
        for strength in (self.strength, self.key_points_strength):
            if not 0.0 <= strength <= 10.0:
                raise ValueError(f"a control of strength {strength}: expected 0 (off) to 10, 1 is as it was trained")
        if self.fit not in FITS:
            raise ValueError(f"a hint is fitted by {', '.join(FITS)}, and not by {self.fit!r}")
        if self.combine is not None and self.combine not in COMBINE:
            raise ValueError(f"references are combined by {', '.join(COMBINE)}, and not by {self.combine!r}")
        layer_weights(self.weight_type, 1)

    @property
    def works(self) -> bool:
        """Whether it is not off."""
        return self.strength > 0.0 or self._follows_key_points

    @property
    def _follows_key_points(self) -> bool:
        return self.key_points is not None and self.key_points_strength > 0.0

    def steering(
        self,
        stage: Stage,
        texts: Mapping[str, TextEmbeds],
        told: Mapping[str, Signals],
        batch: int,
        size: tuple[int, int],
    ) -> dict[str, Steering]:
        """What it does to each branch of `told`, for `batch` pictures (h w) `size`.

        Raises ValueError for a stage that it was not trained on, and for hints or masks of another number or kind.
        """
        self.adapter.check_fits(stage)
        given = self._given(batch, size)
        return {branch: self._branch(stage, branch, texts.get(branch), told[branch], given, size) for branch in told}

    def _given(self, batch: int, size: tuple[int, int]) -> Given:
        kinds = self.adapter.spec.config.kinds
        takes_hint = self.adapter.network.takes_hint
        if takes_hint and self.combine is not None:
            raise ValueError("several hints are not combined into one: give one, or one a picture")
        if self.combine is None:
            one_each("hint" if takes_hint else "reference", self.picture, batch)
        self.adapter.network.check_reads(self.picture)
        kind = kind_of(self.picture, kinds, self.kind)
        picture = self.picture
        if takes_hint:
            picture = fitted(picture, size, how=self.fit, resizing=resizing_of(kind))
        picture = picture.to(self.adapter.device, torch.float32)
        which = torch.full((batch,), kinds.index(kind), device=picture.device)
        if self.combine is None:
            picture = picture.expand(batch, *picture.shape[1:])
        return Given(
            picture=picture,
            kind=which,
            combine=self.combine,
            weight_type=self.weight_type,
            key_points=self._key_points(batch, size),
            beside=self.strength > 0.0,
        )

    def _key_points(self, batch: int, size: tuple[int, int]) -> Tensor | None:
        """(b 3 h w) at the size that is drawn, where it follows any. ValueError where there can be none."""
        if self.key_points is None:
            return None
        if not self.adapter.network.takes_key_points:
            raise ValueError("this control follows no key points: leave them out, or load an identity")
        one_each("picture of key points", self.key_points, batch, many="pictures of key points")
        check_key_points(self.key_points)
        if not self._follows_key_points:
            return None
        fitting = fitted(self.key_points, size, how=self.fit)
        return fitting.to(self.adapter.device, torch.float32).expand(batch, -1, -1, -1)

    def _branch(
        self, stage: Stage, branch: str, text: TextEmbeds | None, told: Signals, given: Given, size: tuple[int, int]
    ) -> Steering:
        if text is not None:
            device = self.adapter.device
            text = TextEmbeds(embeds=text.embeds.to(device), mask=text.mask.to(device))
        batch, null = len(given.kind), branch == "null"
        read = stage.unet.encode_text if stage.reads_text else None
        on = 1.0 if self.apply_to_null or not null else 0.0
        strengths = [self.strength] if given.key_points is None else [self.strength, self.key_points_strength]
        strength, *feature_strength = (torch.full((batch,), on * each, device=stage.device) for each in strengths)
        return Steering(
            adapter=self.adapter.network,
            told=self.adapter.network.told(dataclasses.replace(given, text=text, base=told, null=null, read=read)),
            strength=strength,
            feature_strength=feature_strength[0] if feature_strength else None,
            mask=None if self.mask is None else self._mask(stage, batch, size),
            start=self.start,
            end=self.end,
            curve=self.curve,
        )

    def _mask(self, stage: Stage, batch: int, size: tuple[int, int]) -> Tensor:
        one_each("mask", self.mask, batch)
        mask = padded(fitted(self.mask.float(), size, how=self.fit), stage.unet.multiple)
        return mask.to(stage.device).expand(batch, -1, -1, -1)


def one_each(what: str, given: Tensor, batch: int, many: str | None = None) -> None:
    """ValueError unless there is one of them, or one an image."""
    if len(given) not in (1, batch):
        found = many or f"{what}s"
        raise ValueError(f"{len(given)} {found} for {batch} pictures: give one {what}, or one a picture")


def controlled(
    controls: Sequence[Control],
    stage: Stage,
    prompt: Prompt | None,
    told: Mapping[str, Signals],
    batch: int,
    size: tuple[int, int],
) -> Mapping[str, Signals]:
    """`told` by branch, with what the controls that are on add to it; itself without any."""
    for control in controls:
        if control.works:
            steering = control.steering(stage, stage.texts(prompt), told, batch, size)
            told = {branch: signals + Signals(steering=(steering[branch],)) for branch, signals in told.items()}
    return told
