"""Under which key is each node's result kept? One key a node, made from those of the nodes before it."""

from __future__ import annotations

import graphlib
from collections.abc import Iterable
from typing import Any

from .awaiting import Awaiter
from .cache import key_of, stamp
from .calls import call, gather_inputs
from .graph import Graph, ancestors, ordered


class Keys(dict[str, str]):
    """The keys of a graph's nodes by id, as far as they were asked for."""

    def __init__(self, graph: Graph, awaiter: Awaiter) -> None:
        self.graph, self.awaiter = graph, awaiter

    def add(self, nodes: Iterable[str]) -> list[str]:
        """Find the keys of these nodes and of all they depend on; returns which are new. Raises ValueError for a ring."""
        try:
            new = list(ordered(self.graph, ancestors(self.graph, nodes, known=self)))
        except graphlib.CycleError as error:
            raise ValueError(f"nodes depend on themselves: {' -> '.join(error.args[1][:10])}") from None
        for node in new:
            self[node] = self._key(node)
        return new

    def _key(self, node: str) -> str:
        declared, links = self.graph.declared(node), self.graph.links(node)
        inputs: dict[str, Any] = {}
        for name, value in self.graph.get_node(node)["inputs"].items():
            if name in links:
                inputs[name] = ["link", self[value[0]], value[1]]
            elif name in declared.inputs or name in declared.hidden:
                inputs[name] = ["constant", value]
        kind = self.graph.get_node(node)["class_type"]
        return key_of(kind, node if declared.reads_its_id else None, self._changed(node), inputs)

    def _changed(self, node: str) -> Any:
        """What the class's IS_CHANGED says of these constants (None for links)."""
        cls = self.graph.declared(node).cls
        if not hasattr(cls, "IS_CHANGED"):
            return None
        hidden = {"PROMPT": {}, "DYNPROMPT": None, "EXTRA_PNGINFO": None, "UNIQUE_ID": node}
        try:
            inputs = gather_inputs(node, self.graph, {}, hidden)
            return stamp(node, self.awaiter.finish(call(cls, "IS_CHANGED", inputs, self.awaiter)))
        except Exception as error:
            return stamp(node, error)
