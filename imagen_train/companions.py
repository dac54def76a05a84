"""Which other picture shows the same thing in the same colour, and what do words say of the one that is to be drawn?

A network that is shown a picture and asked for that very picture learns its layout. Asked for the same thing in another
style, in another number, before another backdrop, as words say, it learns the thing.

Shapes: n pictures of a cache, b of a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from .data import DrawingKind, PictureCache
from .stickers.backdrops import NAMES as BACKDROPS
from .stickers.captions import unnamed_caption
from .stickers.scene import LAYOUTS, STYLES

ONE = LAYOUTS.index("one")
ITSELF, STATED = 0.45, 0.4  # of a batch: the reference is the picture, without words; words say all but the thing
STYLE_STATED = 0.7  # of the words that do: those that say the style too, which the reference's may differ from
EMPTY = 0.5  # of the pictures without words: an empty text, as people leave it, and else no text at all


@dataclass(frozen=True)
class Case:
    """A picture to be drawn, the picture that is its reference (both by number), and what words say.

    words: None is no text at all, "" an empty one; `captioned`: the picture's own caption instead.
    """

    picture: int
    reference: int
    words: str | None = None
    captioned: bool = False


@dataclass(frozen=True)
class Companions:
    """A cache's pictures with their labels (n,), and for each thing and colour the pictures of a single one (m,)."""

    labels: dict[str, Tensor]
    alike: dict[tuple[int, int], Tensor]

    @staticmethod
    def of(cache: PictureCache) -> Companions | None:
        """None for pictures of which nothing is known."""
        if not isinstance(cache.kind, DrawingKind) or not cache.labels:
            return None
        labels = {name: torch.tensor(values) for name, values in cache.labels.items()}
        alike: dict[tuple[int, int], list[int]] = {}
        for i in (labels["layout"] == ONE).nonzero()[:, 0].tolist():
            alike.setdefault(_key(labels, i), []).append(i)
        return Companions(labels, {key: torch.tensor(members) for key, members in alike.items()})

    def __len__(self) -> int:
        return len(self.labels["thing"])

    def drawn(self, count: int, generator: torch.Generator) -> list[Case]:
        """A batch of cases, each kind in its share."""
        rng = Random(int(torch.randint(2**62, (), generator=generator)))
        return [self.case(rng.randrange(len(self)), rng) for _ in range(count)]

    def case(self, picture: int, rng: Random) -> Case:
        """What a picture is learned by: itself, another that words change into it, or another and its caption."""
        others = self.alike.get(_key(self.labels, picture)) if self.labels["thing_2"][picture] < 0 else None
        kind = rng.random()
        if kind < ITSELF or others is None:
            return Case(picture, picture, "" if rng.random() < EMPTY else None)
        if kind < ITSELF + STATED:
            return self._stated(picture, others, rng)
        return Case(picture, self._other(picture, others, rng), captioned=True)

    def _stated(self, picture: int, others: Tensor, rng: Random) -> Case:
        style, count, backdrop = (int(self.labels[name][picture]) for name in ("style", "count", "backdrop"))
        same = others[self.labels["style"][others] == style]
        stated = rng.random() < STYLE_STATED or not len(same)
        words = unnamed_caption(STYLES[style] if stated else None, count, BACKDROPS[backdrop], rng)
        return Case(picture, self._other(picture, others if stated else same, rng), words)

    def _other(self, picture: int, among: Tensor, rng: Random) -> int:
        """Any of them but the picture itself, if there is another."""
        found = among[among != picture]
        return int(found[rng.randrange(len(found))]) if len(found) else picture


def _key(labels: dict[str, Tensor], picture: int) -> tuple[int, int]:
    return int(labels["thing"][picture]), int(labels["color"][picture])


def rows_of(
    cases: list[Case], width: int, caption: Callable[[int], Tensor], read: Callable[[list[str]], list[Tensor]]
) -> list[Tensor]:
    """Each case's words as a text encoder of this width says them, (l d): `caption` of a picture, `read` of texts.

    No text at all is one row of zeros.
    """
    texts = list(dict.fromkeys(case.words for case in cases if case.words is not None))
    known = dict(zip(texts, read(texts), strict=True)) if texts else {}
    nothing = torch.zeros(1, width)
    return [caption(case.picture) if case.captioned else known.get(case.words, nothing) for case in cases]
