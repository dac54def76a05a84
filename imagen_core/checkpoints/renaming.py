"""Which tensor of ours is which of a published file's, where little but the names differs?"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from torch import Tensor, nn

from .key_map import Entry, KeyMap, Parts, stacked

Names = Mapping[str, str | tuple[str, ...]]
NUMBER = re.compile(r"\.(\d+)\.")


def renamed(network: nn.Module, names: Names, *, prefix: str = "") -> KeyMap:
    """The map of a file with names of its own; names: ours -> theirs, without the last ".weight" or ".bias".

    "*" stands for the first number in ours, and for the same in theirs. Several of theirs are joined along the first
    axis. What `names` does not name is left out.
    """
    table: KeyMap = {}
    for key, tensor in network.state_dict().items():
        ours, _, kind = key.rpartition(".")
        number = NUMBER.search(key)
        theirs = names.get(ours) or names.get(NUMBER.sub(".*.", ours, count=1))
        if theirs is not None:
            several = (theirs,) if isinstance(theirs, str) else theirs
            found = [f"{prefix}{each}.{kind}".replace("*", number[1] if number else "*") for each in several]
            table[key] = stacked(found, tuple(tensor.shape))
    return table


def with_beside(entry: Entry, beside: Parts, check: Callable[[list[Tensor]], None]) -> Entry:
    """The entry of a file that holds besides it what a network of ours does without: read, checked, and passed over.

    check: called with the tensors of `beside`; raises ValueError where they are not as they have to be.
    """

    def join(tensors: list[Tensor]) -> Tensor:
        check(tensors[len(entry.parts) :])
        return entry.join(tensors[: len(entry.parts)])

    return Entry({**entry.parts, **beside}, join)


def first_of_one(tensors: list[Tensor]) -> Tensor:
    """(1 ...) -> (...)."""
    return tensors[0].squeeze(0)


def count(shapes: Parts, pattern: str) -> int:
    """One more than the largest number that `pattern`, with one group, finds at the beginning of a key."""
    compiled = re.compile(pattern)
    return max((int(found[1]) + 1 for key in shapes if (found := compiled.match(key))), default=0)


def shape_of(shapes: Parts, key: str, axes: int) -> tuple[int, ...]:
    """The shape of a weight that has to be there, with so many axes. ValueError naming it."""
    shape = shapes.get(key)
    if shape is None or len(shape) != axes or 0 in shape:
        raise ValueError(f"{key!r} is missing" if shape is None else f"{key!r} has shape {shape}, expected {axes} axes")
    return shape


def same_as(expected: Tensor, tolerance: float, what: str) -> Callable[[list[Tensor]], None]:
    """A check for `with_beside`: that each tensor is `expected`, or ValueError saying `what` is not."""

    def check(tensors: list[Tensor]) -> None:
        if any((tensor.float() - expected).abs().max() > tolerance for tensor in tensors):
            raise ValueError(what)

    return check
