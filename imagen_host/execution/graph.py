"""Which nodes does a prompt hold, and which depends on which? Nothing here recurses: a graph may be a chain of thousands.

A node may answer with more nodes while it runs. They become part of the graph, each with the node it comes from. The
methods called get_... are ComfyUI's names: classes that ask for the hidden input DYNPROMPT are given a `Graph`.
"""

from __future__ import annotations

import graphlib
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from ..declared import Declared
from ..registry import Registry

Link = list  # [node id, output number]


def is_link(value: Any) -> bool:
    """Whether an input's value is a link and no constant."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and type(value[1]) is int


class Graph:
    """The nodes of a prompt by id, with what their classes declare."""

    def __init__(self, prompt: dict[str, dict], registry: Registry) -> None:
        self.prompt, self.registry = prompt, registry.snapshot()
        self.inner: dict[str, dict] = {}  # nodes that others expanded into
        self.parents: dict[str, str] = {}
        self.shown_as: dict[str, str] = {}
        self._links: dict[str, dict[str, Link]] = {}

    def add(self, node: str, entry: dict, parent: str) -> None:
        """Add a node that `parent` expanded into. The entry must have class_type and inputs."""
        self.inner[node], self.parents[node] = entry, parent
        self.shown_as[node] = str(entry.get("override_display_id", parent))

    def get_node(self, node: str) -> dict:
        return self.inner[node] if node in self.inner else self.prompt[node]

    def has_node(self, node: str) -> bool:
        return node in self.inner or node in self.prompt

    def get_original_prompt(self) -> dict:
        return self.prompt

    def all_node_ids(self) -> set[str]:
        return {*self.prompt, *self.inner}

    def get_parent_node_id(self, node: str) -> str | None:
        return self.parents.get(node)

    def get_real_node_id(self, node: str) -> str:
        """The node of the prompt that this one is, or comes from."""
        while node in self.parents:
            node = self.parents[node]
        return node

    def get_display_node_id(self, node: str) -> str:
        """The node on which the editor shows this one's progress."""
        seen = set()
        while node in self.shown_as and node not in seen:
            seen.add(node)
            node = self.shown_as[node]
        return node

    def names(self, node: str) -> dict[str, str | None]:
        """A node's id and those of the nodes it is shown on, comes from, and is part of."""
        return {
            "node_id": node,
            "display_node": self.get_display_node_id(node),
            "parent_node": self.get_parent_node_id(node),
            "real_node_id": self.get_real_node_id(node),
        }

    def declared(self, node: str) -> Declared:
        return self.registry.declared(self.get_node(node)["class_type"])

    def links(self, node: str) -> dict[str, Link]:
        """The linked inputs that the node's class takes, by name."""
        if node not in self._links:
            declared, inputs = self.declared(node), self.get_node(node)["inputs"]
            found = {name: value for name, value in inputs.items() if is_link(value) and declared.takes_link(name)}
            self._links[node] = found
        return self._links[node]

    def sources(self, node: str) -> list[str]:
        """The nodes that a node reads, as far as they exist."""
        return [link[0] for link in self.links(node).values() if self.has_node(link[0])]


def ancestors(graph: Graph, nodes: Iterable[str], known: Collection[str] = ()) -> dict[str, None]:
    """These nodes and everything they depend on, except `known` ones and what only those depend on."""
    found: dict[str, None] = {}
    waiting = [node for node in nodes if node not in known]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found[node] = None
            waiting += [source for source in graph.sources(node) if source not in found and source not in known]
    return found


def ordered(graph: Graph, nodes: Iterable[str]) -> Iterator[str]:
    """The nodes, each behind those among them that it depends on. Raises graphlib.CycleError."""
    members = dict.fromkeys(nodes)
    edges = {node: [source for source in graph.sources(node) if source in members] for node in members}
    return graphlib.TopologicalSorter(edges).static_order()


def rings(graph: Graph, nodes: Iterable[str]) -> list[list[str]]:
    """The groups of nodes that all depend on each other: the strongly connected components (Tarjan 1972)."""
    members, found = dict.fromkeys(nodes), []
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}  # the earliest node that a node can reach, by number
    path: dict[str, None] = {}
    for start in members:
        walk = [] if start in number else [(start, iter(graph.sources(start)))]
        while walk:
            node, rest = walk[-1]
            if node not in number:
                number[node] = lowest[node] = len(number)
                path[node] = None
            if (source := next((item for item in rest if item in members), None)) is None:
                walk.pop()
                if walk:
                    lowest[walk[-1][0]] = min(lowest[walk[-1][0]], lowest[node])
                if lowest[node] == number[node]:
                    group = [path.popitem()[0]]
                    while group[-1] != node:
                        group.append(path.popitem()[0])
                    if len(group) > 1 or node in graph.sources(node):
                        found.append(group[::-1])
            elif source not in number:
                walk.append((source, iter(graph.sources(source))))
            elif source in path:
                lowest[node] = min(lowest[node], number[source])
    return found


def one_ring(graph: Graph, group: Iterable[str]) -> list[str]:
    """A way from one of these nodes, which all depend on each other, back to itself."""
    members = set(group)
    node, way = next(iter(group)), {}
    while node not in way:
        way[node] = len(way)
        node = next(source for source in graph.sources(node) if source in members)
    return [*list(way)[way[node] :], node]
