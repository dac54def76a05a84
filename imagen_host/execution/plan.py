"""Which node runs next? An output or a coroutine as soon as it is ready, then what feeds an output, then as planned."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable

URGENT, FEEDS_AN_OUTPUT, AS_PLANNED = 0, 1, 2


class Plan:
    """The nodes that still have to run, each with the nodes it waits for. Every step costs what its own links cost.

    `needs` gives the nodes that a node must wait for, as far as they are not done; `is_output` and `is_urgent` say
    which nodes should be ready early, and which should run as soon as they are ready.
    """

    def __init__(
        self,
        needs: Callable[[str], list[str]],
        is_output: Callable[[str], bool],
        is_urgent: Callable[[str], bool],
    ) -> None:
        self.needs, self.is_output, self.is_urgent = needs, is_output, is_urgent
        self.waiting: dict[str, set[str]] = {}
        self.readers: dict[str, dict[str, None]] = {}  # by node: those that wait for it
        self.feeding: set[str] = set()  # nodes that an output waits for
        self.begun: set[str] = set()
        self.numbers: dict[str, int] = {}  # the order of planning
        self.ready: list[tuple[int, int, str]] = []  # a heap; a node may be in it more than once

    def __bool__(self) -> bool:
        return bool(self.waiting)

    def add(self, nodes: Iterable[str]) -> None:
        """Plan nodes and what they need, one branch after the other."""
        new = list(nodes)[::-1]
        while new:
            node = new.pop()
            if node not in self.waiting:
                self.numbers.setdefault(node, len(self.numbers))
                needs = self.needs(node)
                self._wait(node, needs)
                new += reversed(needs)

    def defer(self, node: str, sources: Iterable[str]) -> None:
        """Let a node that has begun wait for these nodes, none of them done, and begin again behind them."""
        needs = list(dict.fromkeys(sources))
        self.begun.discard(node)
        self._wait(node, needs)
        self.add(needs)

    def _wait(self, node: str, needs: list[str]) -> None:
        self.waiting[node] = set(needs)
        for source in needs:
            self.readers.setdefault(source, {})[node] = None
        if self.is_output(node):
            hurried = self.waiting[node] - self.feeding
            self.feeding |= hurried
            for source in needs:
                if source in hurried:
                    self._push(source)
        self._push(node)

    def _push(self, node: str) -> None:
        """Note a node that is ready, with its rank of this moment."""
        if self.waiting.get(node, True):
            return
        rank = URGENT if self.is_urgent(node) else FEEDS_AN_OUTPUT if node in self.feeding else AS_PLANNED
        heapq.heappush(self.ready, (rank, self.numbers[node], node))

    def next(self) -> str | None:
        """The node to begin now; None when all that is left has begun or waits."""
        while self.ready:
            *_, node = heapq.heappop(self.ready)
            if node in self.waiting and not self.waiting[node] and node not in self.begun:
                self.begun.add(node)
                return node
        return None

    def done(self, node: str) -> None:
        """Take a node off the plan; those that waited for nothing else are ready."""
        del self.waiting[node]
        self.begun.discard(node)
        for reader in self.readers.pop(node, ()):
            self.waiting[reader].discard(node)
            self._push(reader)
