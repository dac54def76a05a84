"""What must an adapter offer to steer a frozen network?

Shapes: b images, c h w a picture, l text tokens, d text width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..conditioning import Signals, TextEmbeds
from ..unets import UNet, UNetConfig
from ._layer_weights import LINEAR


@dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    """Settings that every adapter has; a subclass adds its own, JSON-able and with defaults."""

    tiny: ClassVar[dict[str, Any]] = {}  # what makes an adapter of this kind small enough for the shared tests
    kinds: tuple[str, ...] = ("edges",)  # of hints that it reads (names of HINTS, or others); several are a union


@dataclass(frozen=True, kw_only=True)
class Given:
    """What an adapter is given at the start of a run, on its own device."""

    # (b 3 h w) in [-1, 1]: the hint at the size that is drawn, or a reference of any size, (k 3 h w); or what CLIP sees in
    # one, (k e), for an adapter that `reads_embeds`
    picture: Tensor
    kind: Tensor  # (b,) which of the adapter's kinds it is, from 0
    text: TextEmbeds | None = None  # of this branch, one row or b; None where the network reads none
    base: Signals = Signals()  # what the network itself is told
    null: bool = False  # whether this is the branch that guidance steers away from
    combine: str | None = None  # of a reference of several pictures, how they become one: a key of COMBINE
    weight_type: str = LINEAR  # how much a reference counts in which layer: a key of WEIGHT_TYPES
    # (b 2) bool, in training: whether an image's reference is more than its embedding, and goes beside the time as well
    counting: Tensor | None = None
    # (b 3 h w) in [-1, 1], for an adapter that `takes_key_points`: how what the reference shows is to stand; None: anyhow
    key_points: Tensor | None = None
    beside: bool = True  # of such an adapter, whether its reference is read beside the text
    known: Tensor | None = None  # (b,) bool, in training: whose reference it is told; None: all
    read: Callable[[TextEmbeds], Signals] | None = None  # how the network reads a prompt; None where it reads none


class Adapter(nn.Module, ABC):
    """What is trained beside a frozen network. A concrete subclass in a file of this folder is found by its `name`.

    Built as Adapter(config, base): base is the settings of the network that it belongs to.
    """

    name: ClassVar[str]
    config_cls: ClassVar[type[AdapterConfig]]
    takes_hint: ClassVar[bool] = True  # a picture laid over what is drawn; else one that is read as a whole
    reads_small: ClassVar[bool] = False  # what a stage enlarges, so that it belongs to those that do alone
    takes_key_points: ClassVar[bool] = False  # besides its reference, where what that shows is to stand
    frozen: ClassVar[tuple[str, ...]] = ()  # parts of it that training leaves as they are
    taken_over: ClassVar[str | None] = None  # the part that begins with the network's own weights, under their names
    config: Any
    base: UNetConfig

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    @property
    def reads_embeds(self) -> int | None:
        """How wide the CLIP embeddings are that it takes in a picture's place; None for one that takes none."""
        return None

    @property
    def reads_pictures(self) -> bool:
        """Whether it can be given a picture; else it takes embeddings alone."""
        return True

    def check_reads(self, picture: Tensor) -> None:
        """ValueError for a picture (k 3 h w) where embeddings are read, or embeddings (k e) of a CLIP not its own."""
        if picture.ndim != 2:
            if not self.reads_pictures:
                raise ValueError(
                    f"this image prompt reads CLIP embeddings, {self.reads_embeds} wide, and no pictures: connect "
                    "image_embed, or the clip_vision_output of the CLIP that it was trained with"
                )
        elif self.reads_embeds is None:
            raise ValueError(
                "this one sees pictures itself and reads no CLIP embeddings: connect a picture, or load an image prompt "
                "that imagen train image_prompt --clip made"
            )
        elif picture.shape[1] != self.reads_embeds:
            raise ValueError(
                f"these CLIP embeddings are {picture.shape[1]} wide, and this image prompt reads those of the CLIP "
                f"that it was trained with, {self.reads_embeds} wide: make them with that CLIP, or connect a picture"
            )

    def begin_as(self, network: UNet) -> Adapter:
        """Before training, with what it takes over of the network that it is to steer: nothing. Returns itself."""
        return self

    @abstractmethod
    def told(self, given: Given) -> Signals:
        """What is known before the first call, once a run. Differentiable."""

    def at(self, x_t: Tensor, time: Tensor, told: Signals) -> Signals:
        """What the network is told besides at one call: x_t (b c h w) and time (b,) as the network gets them."""
        return told


def starts_at_zero(layer: nn.Module) -> nn.Module:
    """The layer with its parameters at zero, marked so that an optimiser moves it by its gradient's size.

    One that gives every matrix an update of full length (Muon) would take a zero matrix a whole step in the direction of
    its first batch's noise.
    """
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    layer.starts_at_zero = True
    return layer


def padded(picture: Tensor, multiple: int) -> Tensor:
    """(b c h w) with its border repeated to whole cells, as networks pad what they draw."""
    height, width = picture.shape[-2:]
    missing = (0, -width % multiple, 0, -height % multiple)
    return F.pad(picture, missing, mode="replicate") if any(missing) else picture


def kind_embedding(kinds: tuple[str, ...], width: int) -> nn.Embedding:
    """What tells a union of several kinds of hints which one it sees; all alike at first."""
    return starts_at_zero(nn.Embedding(len(kinds), width))
