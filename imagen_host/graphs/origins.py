"""Where does an input really get its value? Through reroutes, bypassed nodes and the borders of subgraphs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .bypass import bypassed_slot
from .canvas_only import CANVAS_ONLY, GETTERS, channel, channel_key, passes_through, setters
from .classes import NodeClass
from .forms import WorkflowError, shown
from .ui_graph import BORDER_IN, BORDER_OUT, BYPASSED, MUTED, Graph, Link, Node, Slot


@dataclass(frozen=True)
class Constant:
    """A value that a link leads to: of a subgraph's promoted widget."""

    value: Any


@dataclass(frozen=True, eq=False)
class Place:
    """A graph seen from one of its instances: `prefix` begins the ids, `host` is the instance in the graph around."""

    graph: Graph
    prefix: str = ""
    host: Node | None = None
    parent: Place | None = None

    def around(self) -> list[Place]:
        """This place and those around it, innermost first."""
        return [self, *(self.parent.around() if self.parent else [])]


class Origins:
    """What lies behind the links of one graph, whose instances of subgraphs are opened as they are met."""

    def __init__(self, definitions: Mapping[str, Graph], classes: Mapping[str, NodeClass]) -> None:
        self.definitions, self.classes = definitions, classes
        self.inner: dict[str, Place] = {}
        self.known: dict[tuple[str, Link, str], Constant | tuple[str, int] | None] = {}  # what lies behind a link
        self.setters: dict[Graph, dict[tuple[str, Any], Node]] = {}

    def open(self, parent: Place, host: Node) -> Place:
        prefix = f"{parent.prefix}{host.id}:"
        if prefix not in self.inner:
            self.inner[prefix] = Place(self.definitions[host.type], prefix, host, parent)
        return self.inner[prefix]

    def origin(self, place: Place, slot: Slot, where: str) -> Constant | tuple[str, int] | None:
        """Where an input really gets its value: through reroutes, bypassed nodes and borders of subgraphs.

        A muted node gives nothing, so that a widget it feeds keeps its own value (the oldest editors drop that, too).
        The type asked for stays the same through reroutes, which have none of their own. What lies behind a link is found
        once, however many inputs read through it.
        """
        steps: list[tuple[str, Link, str]] = []
        found = self._walk(place, slot, where, steps)
        self.known.update(dict.fromkeys(steps, found))
        return found

    def _walk(
        self, place: Place, slot: Slot, where: str, steps: list[tuple[str, Link, str]]
    ) -> Constant | tuple[str, int] | None:
        seen, kind = set(), slot.kind
        while slot is not None and slot.link is not None:
            link = slot.link
            step = (place.prefix, link, str(kind))
            if step in self.known:
                return self.known[step]
            steps.append(step)
            if (place.prefix, link) in seen:
                raise WorkflowError(f"{where}: it comes from a loop of reroutes or bypassed nodes: break it")
            seen.add((place.prefix, link))
            if link.origin == BORDER_IN and place.host is not None:
                slot = self._host_slot(place, link, where)
                if slot.link is None:
                    return Constant(place.host.promoted[slot.name]) if slot.name in place.host.promoted else None
                place, kind = place.parent, slot.kind
                continue
            source = place.graph.nodes.get(link.origin)
            if source is None:
                missing = shown(place.prefix + link.origin)
                raise WorkflowError(
                    f"{where}: link {link.id} comes from node {missing}, which does not exist: remove it"
                )
            if source.mode == MUTED:
                return None
            if source.mode == BYPASSED:
                slot = bypassed_slot(source, link.slot, kind, self.classes.get(source.type))
                kind = slot.kind if slot else kind
            elif source.type in self.definitions:
                place = self.open(place, source)
                slot = self._border_slot(place, link, where)
            elif source.type in CANVAS_ONLY:
                place, slot = self._behind(place, source, where)
            elif link.slot < 0:
                raise WorkflowError(f"{where}: link {link.id} comes from output {link.slot}: remove it")
            else:
                return place.prefix + source.id, link.slot
        return None

    @staticmethod
    def _host_slot(place: Place, link: Link, where: str) -> Slot:
        """The input of the instance that a link from the subgraph's border stands for."""
        slots = place.host.inputs
        if not 0 <= link.slot < len(slots):
            name = shown(place.graph.name or place.host.type)
            raise WorkflowError(f"{where}: link {link.id} comes from input {link.slot} of the subgraph {name}, which has"
                                f" {len(slots)}: remove it")  # fmt: skip
        return slots[link.slot]

    @staticmethod
    def _border_slot(place: Place, outer: Link, where: str) -> Slot | None:
        """What feeds the output of a subgraph that a link outside comes from, as if it were an input: the link inside that
        the output names, else one that ends in it.
        """
        outputs, links, number = place.graph.outputs, place.graph.links, outer.slot
        numbers = outputs[number].numbers if 0 <= number < len(outputs) else []
        ends = (link for link in links.values() if (link.target, link.target_slot) == (BORDER_OUT, number))
        link = next((links[key] for key in numbers if key in links), None) or next(ends, None)
        if link is None and not 0 <= number < len(outputs):
            name = shown(place.graph.name or place.host.type)
            raise WorkflowError(f"{where}: link {outer.id} comes from output {number} of the subgraph {name}, which has"
                                f" {len(outputs)}: remove it")  # fmt: skip
        return Slot(name="", link=link) if link else None

    def _behind(self, place: Place, node: Node, where: str) -> tuple[Place, Slot | None]:
        """The input that a node of the canvas only stands for, and where it is. None for what gives no link."""
        if node.type in GETTERS:
            place, node = self._setter_of(place, node, where)
        elif not passes_through(node):
            return place, None
        return place, next(iter(node.inputs), None)

    def _setter_of(self, place: Place, getter: Node, where: str) -> tuple[Place, Node]:
        """The Set node that a Get node stands for, and where it is: its own graph comes first, then those around."""
        key = channel_key(GETTERS[getter.type], channel(getter))
        for around in place.around():
            if around.graph not in self.setters:
                self.setters[around.graph] = setters(around.graph)
            if key in self.setters[around.graph]:
                return around, self.setters[around.graph][key]
        name = f"node {shown(place.prefix + getter.id)} ({shown(getter.type)})"
        raise WorkflowError(f"{where}: {name} gets {shown(channel(getter))}, which no {GETTERS[getter.type]} sets")
