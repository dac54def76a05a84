"""How does a graph saved by the editor (UI JSON) become a prompt that can run (API JSON)?

Follows the newest editor's own conversion: muted nodes and those of the canvas only vanish, bypassed ones pass their
inputs on, PrimitiveNodes write into the widgets they are joined to, group nodes are opened, subgraphs are unfolded with
ids "outer:inner". `tests/editor` holds it beside the editor.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .canvas_only import CANVAS_ONLY, OF_A_CLASS, PRIMITIVE, is_decoration
from .classes import Classes, NodeClass, of_info
from .file_names import CanvasNode, FileNames
from .forms import WorkflowError, shown
from .group_classes import Groups
from .group_nodes import open_groups
from .numbering import highest_id, last_id, renumber
from .origins import Constant, Origins, Place
from .primitives import apply_primitives
from .promoted import Promotion
from .slots import wire
from .ui_graph import Graph, Node, is_ui, read_ui
from .widgets import CONTROL, controls, widget_places, widget_values

MOST = 50_000  # nodes that a graph may unfold into
PACK_FIELDS = {  # what the editor passes on about a node's pack, where it has the right form
    "cnr_id": r"[a-zA-Z0-9](?:[a-zA-Z0-9._-]{0,98}[a-zA-Z0-9])?",
    "aux_id": r"(?!-)(?!.*--)[a-zA-Z0-9-]{1,39}(?<!-)/[a-zA-Z0-9](?:[a-zA-Z0-9._-]{0,98}[a-zA-Z0-9])?",
    "ver": r"unknown|v?[0-9a-fA-F]{4,40}|v?(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*)){2}(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?",
}


@dataclass(frozen=True, kw_only=True)
class Converted:
    """A prompt whose file names still hold their tokens, and what fills them in."""

    prompt: dict[str, dict]
    names: FileNames


def workflow_to_prompt(ui: dict, object_info: Mapping[str, dict] | Classes) -> dict[str, dict]:
    """API prompt of a graph saved by the editor (format 0.4 or 1), its file names filled in.

    Raises WorkflowError for a graph that is malformed or uses a class that `object_info` lacks. Warns where the file
    names a link that it does not have, and where a node is left out.
    """
    converted = convert(ui, object_info)
    converted.names.fill(converted.prompt)
    return converted.prompt


def convert(ui: dict, object_info: Mapping[str, dict] | Classes) -> Converted:
    """As `workflow_to_prompt`, with the tokens of file names left in."""
    classes = of_info(object_info)
    converter = Converter(ui, classes)
    prompt = converter.convert()
    for line in converter.lost:
        warnings.warn(line, stacklevel=2)
    return Converted(prompt=prompt, names=FileNames(converter.canvas(), prompt, classes, converter.texts))


class Converter:
    """One conversion of one graph."""

    def __init__(self, ui: dict, classes: Classes) -> None:
        if not is_ui(ui):
            raise WorkflowError("no list of nodes: save the graph from the editor again")
        self.classes = classes
        top, self.definitions = read_ui(ui)
        groups, graphs = Groups(ui, classes), [top, *self.definitions.values()]
        renumber(top, self.definitions, last_id(ui))
        last, self.lost = highest_id(graphs, last_id(ui)), []
        for graph in graphs:
            self.lost += wire(graph, self.definitions, groups.known_to(graph))
            last = open_groups(graph, groups, last)
        Promotion(top, self.definitions, classes).settle()
        for graph in graphs:
            apply_primitives(graph, classes)
        self.top = Place(top)
        self.origins = Origins(self.definitions, classes)
        self.sources: dict[Graph, set[str]] = {}
        self.unknown: list[tuple[Place, Node]] = []  # what was left out
        self.texts: list[tuple[str, str]] = []  # inputs whose text has tokens, beside the file names

    def convert(self) -> dict[str, dict]:
        prompt: dict[str, dict] = {}
        for place, node in self._executed(self.top):
            key = place.prefix + node.id
            prompt[key] = self._emit(place, node)
            self.texts += [(key, name) for name in prompt[key]["inputs"] if (node.id, name) in place.graph.texts]
        if not prompt:
            raise self._nothing_to_run()
        for entry in prompt.values():
            entry["inputs"] = {
                name: value
                for name, value in entry["inputs"].items()
                if not isinstance(value, list) or value[0] in prompt
            }
        return prompt

    def _nothing_to_run(self) -> WorkflowError:
        if self.unknown:
            return self._unknown(*self.unknown[0])
        count = len(self.top.graph.nodes)
        reason = f"all {count} nodes are muted, bypassed or notes" if count else "the graph has no nodes"
        return WorkflowError(f"nothing to run: {reason}: switch a node on, or save another graph from the editor")

    @staticmethod
    def _unknown(place: Place, node: Node) -> WorkflowError:
        where = shown(place.prefix + node.id)
        return WorkflowError(
            f"node {where} is of the unknown class {node.type!r:.80}: this host runs the classes that 'imagen nodes' lists"
        )

    def _executed(self, top: Place) -> Iterator[tuple[Place, Node]]:
        """Every node that runs, subgraphs unfolded, in the editor's order.

        An instance inside a subgraph runs also when it is muted or bypassed itself: the editor, which mutes its inner
        nodes along with it, looks at those alone.
        """
        waiting, count = [(top, node) for node in reversed(top.graph.ordered()) if not node.idle], 0
        while waiting:
            place, node = waiting.pop()
            count += 1
            if count > MOST:
                raise WorkflowError(f"the subgraphs unfold into more than {MOST} nodes: that is no workflow")
            if node.type in self.definitions:
                inner = self.origins.open(place, node)
                nodes = [found for found in inner.graph.ordered() if not found.idle or found.type in self.definitions]
                waiting += [(inner, found) for found in reversed(nodes)]
            elif node.type not in CANVAS_ONLY and not self._left_out(place, node):
                yield place, node

    def _left_out(self, place: Place, node: Node) -> bool:
        if node.type in self.classes or not is_decoration(node, self._sources(place.graph)):
            return False
        where = shown(place.prefix + node.id)
        self.lost.append(f"node {where} ({shown(node.type)}) is unknown here and linked to nothing: it is left out")
        self.unknown.append((place, node))
        return True

    def _sources(self, graph: Graph) -> set[str]:
        """The ids of the nodes that a graph's links come from, found once."""
        if graph not in self.sources:
            self.sources[graph] = {link.origin for link in graph.links.values()}
        return self.sources[graph]

    def _emit(self, place: Place, node: Node) -> dict:
        if node.type not in self.classes:
            raise self._unknown(place, node)
        where, cls = shown(place.prefix + node.id), self.classes[node.type]
        inputs = {name: _wrapped(value) for name, value in self._values(place.graph, node).items()}
        for slot in node.inputs:
            if slot.link is None or not slot.name:
                continue
            origin = self.origins.origin(place, slot, f"node {where}, input {shown(slot.name)}")
            if isinstance(origin, Constant):
                inputs[slot.name] = _wrapped(origin.value)
            elif origin is not None:
                inputs[slot.name] = list(origin)
        title = node.title or cls.display_name or node.type
        return {"class_type": node.type, "inputs": inputs, "_meta": {"title": title, **_pack_of(node)}}

    def _values(self, graph: Graph, node: Node) -> dict[str, Any]:
        """The values of a node's widgets, as saved or as a PrimitiveNode wrote them."""
        values = widget_values(node, self.classes[node.type])
        return {name: graph.forced.get((node.id, name), value) for name, value in values.items()}

    def canvas(self) -> Iterator[CanvasNode]:
        """Every node with its title and widgets, for the tokens of file names: inner ones before their instance."""
        waiting, count = [(self.top, node, False) for node in reversed(self.top.graph.nodes.values())], 0
        while waiting and count < MOST:
            place, node, opened = waiting.pop()
            if node.type in self.definitions and not opened:
                inner = self.origins.open(place, node)
                waiting.append((place, node, True))
                waiting += [(inner, found, False) for found in reversed(inner.graph.nodes.values())]
                continue
            count += 1
            yield self._canvas_node(place, node)

    def _canvas_node(self, place: Place, node: Node) -> CanvasNode:
        key, cls = place.prefix + node.id, self.classes.get(node.type)
        alias = node.properties.get(OF_A_CLASS)
        title = node.title
        if node.type in self.definitions:
            values, title = dict(node.promoted), title or self.definitions[node.type].name
        elif cls is not None:
            values = {**self._control_values(node, cls), **self._values(place.graph, node)}
            alias = node.properties.get(OF_A_CLASS, None if cls.is_saver else node.type)
            title = title or cls.display_name or node.type
        else:
            first = node.values[0] if isinstance(node.values, list) and node.values else None
            values = {"value" if node.type == PRIMITIVE else "text": first}
        return CanvasNode(id=key, type=node.type, alias=alias, title=title, values=values)

    @staticmethod
    def _control_values(node: Node, cls: NodeClass) -> dict[str, Any]:
        values = node.values if isinstance(node.values, list) else []
        places = [index + 1 for spec, index in widget_places(cls, values) if controls(spec)]
        return {CONTROL: values[places[0]]} if places and places[0] < len(values) else {}


def _wrapped(value: Any) -> Any:
    """A list as the editor writes it, so that it is no link."""
    return {"__value__": value} if isinstance(value, list) else value


def _pack_of(node: Node) -> dict[str, str]:
    found = {}
    for name, form in PACK_FIELDS.items():
        value = node.properties.get(name)
        if isinstance(value, str) and re.fullmatch(form, value):
            found[name] = value.removeprefix("v") if name == "ver" else value
    return found
