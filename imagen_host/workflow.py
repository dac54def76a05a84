"""How does a graph saved by the editor (UI JSON) become a prompt that can run (API JSON)?

Follows the editor's own conversion: muted and virtual nodes vanish, bypassed ones pass their inputs on, subgraphs are
unfolded with ids "outer:inner". An origin is ("<id>", slot), a constant, or nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .ui_graph import Graph, WorkflowError, as_list, is_ui, read_graph, subgraphs_of
from .widgets import widget_values

MUTED, BYPASSED = 2, 4
REROUTE, PRIMITIVE = "Reroute", "PrimitiveNode"
VIRTUAL = (REROUTE, PRIMITIVE, "Note", "MarkdownNote")
SUBGRAPH_INPUT, SUBGRAPH_OUTPUT = -10, -20  # the ids by which links inside a subgraph name its border
DEEPEST = 50


@dataclass(frozen=True)
class Constant:
    """A value that a link leads to: from a PrimitiveNode or a subgraph's promoted widget."""

    value: Any


def workflow_to_prompt(ui: dict, object_info: Mapping[str, dict]) -> dict[str, dict]:
    """API prompt of a graph saved by the editor (format 0.4 or 1).

    Raises WorkflowError for a graph that is malformed or uses a class that `object_info` lacks.
    """
    return Converter(ui, object_info).convert()


class Converter:
    """One conversion: `graphs` are opened as instances of subgraphs are met."""

    def __init__(self, ui: dict, object_info: Mapping[str, dict]) -> None:
        if not is_ui(ui):
            raise WorkflowError("no list of nodes: save the graph from the editor again")
        self.object_info = object_info
        self.definitions = subgraphs_of(ui)
        self.top = read_graph(ui)
        self.inner: dict[str, Graph] = {}

    def convert(self) -> dict[str, dict]:
        prompt: dict[str, dict] = {}
        for graph, node in self._executed(self.top, 0):
            prompt[graph.prefix + str(node["id"])] = self._emit(graph, node)
        for entry in prompt.values():
            entry["inputs"] = {
                name: value
                for name, value in entry["inputs"].items()
                if not isinstance(value, list) or value[0] in prompt
            }
        return prompt

    def _executed(self, graph: Graph, depth: int) -> Iterator[tuple[Graph, dict]]:
        """Every node that runs, subgraphs unfolded, in the editor's order."""
        for node in sorted(graph.nodes.values(), key=lambda node: _number(node.get("order"))):
            if node.get("mode") in (MUTED, BYPASSED) or node["type"] in VIRTUAL:
                continue
            if node["type"] in self.definitions:
                if depth >= DEEPEST:
                    raise WorkflowError(f"subgraphs nested more than {DEEPEST} deep: one of them contains itself")
                yield from self._executed(self._open(graph, node), depth + 1)
            else:
                yield graph, node

    def _open(self, parent: Graph, instance: dict) -> Graph:
        prefix = f"{parent.prefix}{instance['id']}:"
        if prefix not in self.inner:
            inner = read_graph(self.definitions[instance["type"]])
            inner.prefix, inner.instance, inner.parent = prefix, instance, parent
            self.inner[prefix] = inner
        return self.inner[prefix]

    def _emit(self, graph: Graph, node: dict) -> dict:
        kind, where = node["type"], graph.prefix + str(node["id"])
        if kind not in self.object_info:
            raise WorkflowError(
                f"node {where} is of the unknown class {kind!r}: this host runs the classes that 'imagen nodes' lists"
            )
        info = self.object_info[kind]
        inputs = {
            name: {"__value__": value} if isinstance(value, list) else value
            for name, value in widget_values(node, info).items()
        }
        for slot in node["inputs"]:
            if slot.get("link") is None or not slot.get("name"):
                continue
            origin = self._origin(graph, slot, f"node {where}")
            if isinstance(origin, Constant):
                inputs[slot["name"]] = {"__value__": origin.value} if isinstance(origin.value, list) else origin.value
            elif origin is not None:
                inputs[slot["name"]] = list(origin)
        title = node.get("title") or info.get("display_name") or kind
        return {"class_type": kind, "inputs": inputs, "_meta": {"title": title}}

    def _origin(self, graph: Graph, slot: dict, where: str) -> Constant | tuple[str, int] | None:
        """Where an input really gets its value: through reroutes, bypassed nodes and borders of subgraphs.

        A muted node gives nothing, so that a widget it feeds keeps its own value (the oldest editors drop that, too).
        The type asked for stays the same through reroutes, which have none of their own.
        """
        seen, promoted = set(), None
        while slot and (link := graph.links.get(slot.get("link"))):
            if (graph.prefix, link) in seen:
                raise WorkflowError(f"{where}: its input comes from a loop of reroutes or bypassed nodes: break it")
            seen.add((graph.prefix, link))
            if link.origin == str(SUBGRAPH_INPUT):
                slot = self._instance_slot(graph, link.slot)
                promoted = self._promoted(graph, slot.get("name")) or promoted
                if slot.get("link") is None:
                    return promoted
                graph = graph.parent
                continue
            source = graph.nodes.get(link.origin)
            if source is None:
                missing = graph.prefix + link.origin
                raise WorkflowError(f"{where}: a link comes from node {missing}, which does not exist: remove it")
            if source.get("mode") == MUTED:
                return None
            if source.get("mode") == BYPASSED:
                slot = bypassed_slot(source, link.slot, slot.get("type"))
            elif source["type"] == REROUTE:
                slot = {**next(iter(source["inputs"]), {}), "type": slot.get("type")}
            elif source["type"] == PRIMITIVE:
                values = source.get("widgets_values")
                return Constant(values[0]) if isinstance(values, list) and values else None
            elif source["type"] in self.definitions:
                graph = self._open(graph, source)
                slot = {"link": self._border_link(graph, link.slot), "type": slot.get("type")}
            else:
                return graph.prefix + link.origin, link.slot
        return None

    @staticmethod
    def _border_link(graph: Graph, slot: int) -> Any:
        """The id of the link inside a subgraph that feeds its output number `slot`."""
        border = {link.target_slot: key for key, link in graph.links.items() if link.target == str(SUBGRAPH_OUTPUT)}
        return border.get(slot)

    @staticmethod
    def _instance_slot(graph: Graph, slot: int) -> dict:
        """The input of the instance that stands for input number `slot` of its subgraph."""
        borders = as_list(graph.definition.get("inputs"), "inputs of a subgraph")
        name = borders[slot].get("name") if slot < len(borders) else None
        found = (item for item in graph.instance["inputs"] if item.get("name") == name)
        return next(found, {"name": name, "link": None})

    def _promoted(self, graph: Graph, name: str | None) -> Constant | None:
        """The value in an instance's own widget for its input `name`; None keeps the inner node's value."""
        named = graph.instance.get("widgets_values_named")
        if isinstance(named, dict):
            return Constant(named[name]) if name in named else None
        values = graph.instance.get("widgets_values")
        if isinstance(values, dict):
            return Constant(values[name]) if name in values else None
        promoted = promoted_names(graph)
        if not isinstance(values, list) or name not in promoted or len(values) != len(promoted):
            return None
        return Constant(values[promoted.index(name)])


def promoted_names(graph: Graph) -> list[str]:
    """The inputs of a subgraph that lead to a widget inside, in order."""
    fed = {
        graph.links[slot["link"]].slot
        for node in graph.nodes.values()
        for slot in node["inputs"]
        if "widget" in slot and slot.get("link") in graph.links
        if graph.links[slot["link"]].origin == str(SUBGRAPH_INPUT)
    }
    borders = as_list(graph.definition.get("inputs"), "inputs of a subgraph")
    return [item.get("name") for index, item in enumerate(borders) if index in fed]


def bypassed_slot(node: dict, output: int, kind: Any) -> dict | None:
    """The input that a bypassed node passes on as its output number `output` to an input of type `kind`."""
    inputs = node["inputs"]
    outputs = node.get("outputs") or []
    out_kind = outputs[output].get("type") if output < len(outputs) else kind
    opposite = inputs[output] if output < len(inputs) else None
    if kind in ("*", ""):  # anything will do
        return opposite or next(iter(inputs), None)
    fitting = [slot for slot in inputs if fits(slot.get("type"), kind) and fits(slot.get("type"), out_kind)]
    if opposite in fitting:
        return opposite
    return next((slot for slot in inputs if slot.get("type") == kind), None) or next(iter(fitting), None)


def fits(a: Any, b: Any) -> bool:
    """Whether the editor lets an output of type `a` feed an input of type `b`: equal, wild, or lists that overlap."""
    if any(kind in ("*", "", None, 0) for kind in (a, b)) or a == b:
        return True
    left, right = ({part.strip() for part in str(kind).lower().split(",")} for kind in (a, b))
    return bool(left & right)


def _number(value: Any) -> float:
    return value if isinstance(value, (int, float)) else 0
