"""What must a network offer to be a stage of the cascade?

Shapes: b batch, c h w a picture, l text tokens, d text width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from ..conditioning import Signals, TextEmbeds


@dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """Settings that every network has; a subclass adds its own, JSON-able and with defaults."""

    null_class: ClassVar[bool] = False  # whether `encode_class` also tells of no class, for guidance to steer away from
    tiny: ClassVar[dict[str, Any]] = {}  # what makes a network of this kind small enough for the shared tests
    in_channels: int = 3  # of x_t
    out_channels: int = 3  # twice in_channels for a learned variance
    patch_size: int = 1  # the stem packs patch x patch pixels into one position, and the head unpacks them
    text_embed_dim: int | None = 4096  # width of the text encoder; None: a network without text
    pooling_queries: int = 1  # learned queries that pool the text (1 is the paper's attention pooling)

    @property
    def inputs(self) -> tuple[str, ...]:
        """What enters besides x_t and the time, some of: text, image_embed, class, low_res, aug_level, known, mask,
        estimate.
        """
        return () if self.text_embed_dim is None else ("text",)

    @property
    def pixel_channels(self) -> int:
        """Channels of all that is joined to x_t: low_res, known and estimate have a picture's, of the mask there is one."""
        widths = {**dict.fromkeys(("low_res", "known", "estimate"), self.in_channels), "mask": 1}
        return sum(widths.get(name, 0) for name in self.inputs)

    @property
    def text_length(self) -> int | None:
        """How many tokens the network reads, no more and no fewer; None: any number."""
        return None

    @property
    def reads_ids(self) -> bool:
        """Whether text comes as token ids, (b l 1), which no number format may round, and not as what an encoder says."""
        return False

    def shown_more(self, key: str, weight: Tensor, channels: int) -> Tensor:
        """A stem's weight of a network that is shown less besides x_t, for the `channels` that this one has; others as is.

        What is new has zeros, so that nothing changes at first.
        """
        return weight

    @property
    def draws_classes(self) -> bool:
        """Whether the network is told one of its classes, by `encode_class`."""
        return "class" in self.inputs


class UNet(nn.Module, ABC):
    """network(x_t, time, told). A concrete subclass in a file of this folder is found by its `name`."""

    name: ClassVar[str]
    config_cls: ClassVar[type[UNetConfig]]
    way_up: ClassVar[tuple[str, ...]] = ()  # the parts that `way_down` does without
    of_words: ClassVar[tuple[str, ...]] = ()  # the parts that tokens do without which are no prompt's
    stem_point: ClassVar[str] = "down.0"  # where features are added to what leaves the stem
    config: Any

    @abstractmethod
    def encode_text(self, text: TextEmbeds) -> Signals:
        """Everything the network needs of a prompt, once for all steps. ValueError for a network without text."""

    @abstractmethod
    def forward(self, x_t: Tensor, time: Tensor, told: Signals) -> Tensor:
        """x_t (b in_channels h w) in the network's dtype, any size; time (b,) in 0..1000; -> (b out_channels h w)."""

    def way_down(self, x_t: Tensor, time: Tensor, told: Signals) -> dict[str, Tensor]:
        """What `forward` has computed when it turns to draw, by the names of the points at which it takes features.

        This is what a ControlNet copies. Raises ValueError for a network that goes no way down.
        """
        raise ValueError(f"a {self.name} network has no way down for a ControlNet to copy")
