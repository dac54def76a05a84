"""Which prompts were encoded recently? A small least-recently-used memory, so that a repeated prompt costs nothing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """One encoded prompt: `embeds` (l d) float32 on the CPU, of which the first `tokens` rows are real, not pads."""

    embeds: Tensor
    tokens: int


class EncodedPrompts:
    """The `capacity` most recently used encodings."""

    def __init__(self, capacity: int = 64) -> None:
        if capacity < 0:
            raise ValueError(f"capacity is {capacity}: expected 0 (remember nothing) or more")
        self.capacity = capacity
        self.hits = 0
        self.misses = 0
        self._entries: OrderedDict[Hashable, Encoding] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def missing(self, keys: Iterable[Hashable]) -> list[Hashable]:
        """The keys not remembered, each once, in order; counts hits and misses."""
        absent: dict[Hashable, None] = {}
        for key in keys:
            if key in self._entries:
                self.hits += 1
            else:
                self.misses += 1
                absent[key] = None
        return list(absent)

    def get(self, key: Hashable) -> Encoding | None:
        """The encoding, now the most recently used; None if it is not remembered."""
        if key in self._entries:
            self._entries.move_to_end(key)
        return self._entries.get(key)

    def put(self, key: Hashable, encoding: Encoding) -> None:
        """Remember an encoding, forgetting the least recently used beyond `capacity`."""
        self._entries[key] = encoding
        self._entries.move_to_end(key)
        while len(self._entries) > self.capacity:
            self._entries.popitem(last=False)
