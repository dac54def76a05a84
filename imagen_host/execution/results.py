"""What have the nodes of a prompt given so far, and for how long is it kept?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .awaiting import Awaiter
from .cache import Cache, Entry, Maker, Uses
from .graph import Graph, Link
from .keys import Keys


class Results:
    """The results of one run, in a cache that outlives it. With `keep` False each goes once nothing can read it."""

    def __init__(self, graph: Graph, cache: Cache, awaiter: Awaiter, *, keep: bool) -> None:
        self.graph, self.cache, self.keep = graph, cache, keep
        self.keys = Keys(graph, awaiter)
        self.uses: Uses | None = None
        self.done: dict[str, None] = {}  # in order
        self.grown: set[str] = set()  # nodes of the prompt that expanded

    def prepare(self, outputs: Iterable[str]) -> list[str]:
        """Find all that the outputs need; returns the nodes whose results are there already."""
        new = self.keys.add(outputs)
        self.cache.keep_only(self.keys, self.graph.prompt)
        if not self.keep and not any(self.graph.declared(node).follows_links for node in new):
            self.uses = Uses()  # a node that follows links may come back to any result
        self._hold(new)
        return [node for node in new if self.entry(node) is not None]

    def grow(self, parent: str, new: Iterable[str], read: Iterable[str]) -> None:
        """Take in nodes that `parent` expanded into, and that it will read from `read`."""
        self.grown.add(self.graph.get_real_node_id(parent))
        self._hold(self.keys.add(new))
        if self.uses is not None:
            self.uses.hold(parent, [self.keys[source] for source in read])

    def _hold(self, nodes: Iterable[str]) -> None:
        """Note what these nodes may read: a lazy input may be asked for at any time."""
        for node in nodes if self.uses is not None else ():
            self.uses.hold(node, [self.keys[node], *(self.keys[source] for source in self.graph.sources(node))])

    def entry(self, node: str) -> Entry | None:
        return self.cache.entries.get(self.keys[node])

    def has(self, node: str) -> bool:
        """Whether a node is done and its result is still here."""
        return node in self.done and self.entry(node) is not None

    def missing(self, nodes: Iterable[str]) -> list[str]:
        """Those that have to run first, each once."""
        return [node for node in dict.fromkeys(nodes) if not self.has(node)]

    def of(self, link: Link) -> list:
        """What comes through a link from a node that is done."""
        return self.entry(link[0]).outputs[link[1]]

    def instance(self, node: str) -> Any:
        """The object whose function runs; the same in every run for as long as the node stays in the prompt."""
        return self.cache.instance(node, self.graph.get_node(node)["class_type"], self.graph.declared(node).cls)

    def put(self, node: str, entry: Entry) -> None:
        root = self.graph.get_real_node_id(node)
        inside = None if root == node else self.graph.prompt[root]["class_type"]
        self.cache.put(self.keys[node], Maker(node=root, kind=inside), entry)

    def finish(self, node: str) -> None:
        """Note that a node is done, and drop what was kept for it alone."""
        self.done[node] = None
        for key in self.uses.free(node) if self.uses is not None else ():
            self.cache.drop(key)

    def close(self) -> None:
        """Drop what nodes inside expanded ones gave in earlier runs and not in this one."""
        self.cache.forget_inner(self.grown, self.keys.values())
