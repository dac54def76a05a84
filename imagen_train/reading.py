"""How does a base learn early which word is whose? It is asked what the prompt says lies on either side, without a picture.

A loss on what a `TextReader` made of the prompt's tokens: four learned questions (left, right, above, below), each
answered by attention, as a position of the picture would ask, with a thing and its colour. Of one thing, or several
alike, all four are that thing. Errors of the picture alone teach the same far too slowly: which of two small things
lies left is a small part of them.

Shapes: b captions, l text tokens, d text width, n attention heads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imagen_core.unets.attention import split_heads

from .listening import listening

SIDES = ("left", "right", "above", "below")
WIDTH, HEADS = 256, 4
WANTED = ("thing", "thing_2", "color", "color_2", "relation")  # of the labels
UNASKED = -100  # what cross entropy leaves out


@dataclass(frozen=True)
class Answers:
    """What lies on each side of some pictures: things, colors (b 4), UNASKED where that cannot be said."""

    things: Tensor
    colors: Tensor

    @classmethod
    def of(
        cls, labels: Mapping[str, Sequence[int]], indices: Sequence[int], colors: int, gone: Tensor | None = None
    ) -> Answers:
        """labels: of a set of pictures (`stickers.pictures.labels`). gone (b,) bool: whose caption was dropped.

        ValueError for pictures without such labels.
        """
        if missing := [name for name in WANTED if name not in labels]:
            raise ValueError(
                f"read_weight asks what lies where, and these pictures have no label {', '.join(missing)}: set it to 0"
            )
        rows = {name: torch.tensor([labels[name][i] for i in indices]) for name in WANTED}
        pair = rows["thing_2"] >= 0
        things = _by_side(rows["thing"], rows["thing_2"], rows["relation"], pair)
        shades = _by_side(rows["color"], rows["color_2"], rows["relation"], pair)
        shades[shades == -1] = colors
        if gone is not None:
            things[gone], shades[gone] = UNASKED, UNASKED
        return cls(things, shades)

    def to(self, device: torch.device) -> Answers:
        return Answers(self.things.to(device), self.colors.to(device))


class Reading(nn.Module):
    """The questions and what answers them, learned with the base; no part of its weights."""

    def __init__(self, text_dim: int, things: int, colors: int):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)  # the same in every process
            self.questions = nn.Parameter(torch.randn(HEADS, len(SIDES), WIDTH // HEADS))
            self.keys_values = nn.Linear(text_dim, 2 * WIDTH)
            self.thing, self.color = nn.Linear(WIDTH, things), nn.Linear(WIDTH, colors + 1)  # the last: its own colour
        self._heard: tuple[Tensor, Tensor] | None = None

    def listening(self, reader: nn.Module) -> AbstractContextManager[None]:
        """Remember what the base's `TextReader` puts out, and of which tokens."""

        def hear(given: tuple[Tensor, ...], output: Tensor) -> None:
            self._heard = output, given[1]

        return listening(reader, hear)

    def forward(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """tokens (b l d), mask (b l) -> logits of things (b 4 things), of colours (b 4 colors + 1)."""
        keys, values = split_heads(self.keys_values(tokens), 2, HEADS)  # b n l k
        questions = self.questions.to(keys.dtype).expand(len(tokens), -1, -1, -1)
        read = F.scaled_dot_product_attention(questions, keys, values, mask[:, None, None, :])  # b n 4 k
        read = read.transpose(1, 2).flatten(2)
        return self.thing(read), self.color(read)

    def loss(self, truth: Answers) -> Tensor:
        """Cross entropy of what was heard last; answers that are not asked for count nothing."""
        things, colors = self(*self._heard)
        pairs = ((things, truth.things), (colors, truth.colors))
        return sum(F.cross_entropy(found.float().flatten(0, 1), wanted.flatten()) for found, wanted in pairs)

    @torch.no_grad()
    def right(self, truth: Answers) -> float:
        """Share of the sides that were asked for of what was heard last, whose thing and colour are both read right."""
        things, colors = (found.argmax(-1) for found in self(*self._heard))
        asked = truth.things != UNASKED
        return ((things == truth.things) & (colors == truth.colors))[asked].float().mean().item()


def _by_side(first: Tensor, second: Tensor, relation: Tensor, pair: Tensor) -> Tensor:
    """Each picture's (b,) first and second as (b 4) by SIDES; relation: of a pair, 0 left and 1 above."""
    sides = first[:, None].repeat(1, len(SIDES))
    for way in (0, 1):
        there = pair & (relation == way)
        sides[there] = UNASKED
        sides[there, 2 * way], sides[there, 2 * way + 1] = first[there], second[there]
    return sides
