"""What text does the text encoder learn from? Captions, their canonical parses, and captions with spans taken out.

Shapes: b captions, l tokens of a caption, m tokens of a target.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from .scenes import sample_captions
from .tokenizer import EOS, FIRST_SENTINEL, PAD, SENTINELS, encode_all


@dataclass(frozen=True, kw_only=True)
class TextPool:
    """Tokenised captions (b l) and parses (b m), sorted by length so that neighbours make a batch without padding."""

    captions: Tensor
    parses: Tensor

    def __len__(self) -> int:
        return self.captions.shape[0]

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """`count` neighbours from a random place, each trimmed to its longest row."""
        start = int(torch.randint(len(self) - count + 1, (1,), generator=generator))
        return trim(self.captions[start : start + count]), trim(self.parses[start : start + count])


def text_pool(count: int, *, seed: int, held_out: bool = False, shuffle_clauses: bool = True) -> TextPool:
    """`count` captions with parses; half of the parses get their clauses shuffled.

    A shuffled parse asks for any clause first, so that no clause can be worked out from what was said before it.
    """
    rng = Random(seed)
    batch = sample_captions(count, seed=seed, held_out=held_out)
    parses = [_shuffled(parse, rng) if shuffle_clauses else parse for parse in batch.parses]
    sources, targets = encode_all(batch.captions), encode_all(parses)
    order = list(range(count))
    rng.shuffle(order)
    order.sort(key=lambda i: (len(sources[i]), len(targets[i])))
    return TextPool(captions=pad([sources[i] for i in order]), parses=pad([targets[i] for i in order]))


def _shuffled(parse: str, rng: Random) -> str:
    clauses = parse.split(" ; ")
    if rng.random() < 0.5:
        rng.shuffle(clauses)
    return " ; ".join(clauses)


def pad(rows: list[list[int]]) -> Tensor:
    """Ragged ids as one (b, longest) long tensor, padded on the right."""
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=PAD)


def trim(ids: Tensor) -> Tensor:
    """Cut the columns that hold padding alone: (b l) -> (b l')."""
    return ids[:, : int((ids != PAD).sum(1).max())]


def corrupt_spans(ids: Tensor, generator: torch.Generator, *, rate: float = 0.3) -> tuple[Tensor, Tensor]:
    """T5's span corruption (arXiv 1910.10683, section 3.1.4): (b l) -> source (b l'), target (b m).

    About `rate` of the tokens go, in spans of one to three; each span is replaced by one sentinel in the source, and
    the target lists sentinel and span in turn. </s> stays. At most SENTINELS spans a caption.
    """
    real = (ids != PAD) & (ids != EOS)
    draws = torch.rand(3, *ids.shape, generator=generator)
    starts = (draws[0] < rate / 1.75) & real  # spans of mean length 1 + .5 + .25
    taken = starts | (_shift(starts) & (draws[1] < 0.5) & real)
    taken = taken | (_shift(taken & ~starts) & (draws[2] < 0.5) & real)
    opening = taken & ~_shift(taken)
    number = opening.cumsum(1)
    taken, opening = taken & (number <= SENTINELS), opening & (number <= SENTINELS)
    sentinel = FIRST_SENTINEL + number - 1
    source = _compact(torch.where(opening, sentinel, ids), (ids != PAD) & (~taken | opening))
    pairs = torch.stack([sentinel, ids], 2).flatten(1)  # b 2l: sentinel, token, sentinel, token ...
    kept = torch.stack([opening, taken], 2).flatten(1)  # b 2l
    end = torch.full_like(ids[:, :1], EOS)
    return source, _compact(torch.cat([pairs, end], 1), torch.cat([kept, end > 0], 1))


def _shift(mask: Tensor) -> Tensor:
    """Each position's left neighbour, False at the start."""
    return torch.cat([torch.zeros_like(mask[:, :1]), mask[:, :-1]], 1)


def _compact(ids: Tensor, keep: Tensor) -> Tensor:
    """Move the kept ids to the left, in order, and pad the rest."""
    order = (~keep).to(torch.uint8).argsort(dim=1, stable=True)
    return trim(ids.where(keep, PAD).gather(1, order))
