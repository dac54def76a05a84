"""How does a graph saved by the editor (UI JSON) become a prompt that can run (API JSON)?

Follows the newest editor's own conversion: muted nodes and those of the canvas only vanish, bypassed ones pass their
inputs on, PrimitiveNodes write into the widgets they are joined to, group nodes are opened, subgraphs are unfolded with
ids "outer:inner". `tests/editor/test_editor_conversion.py` holds it beside the editor.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .canvas_only import CANVAS_ONLY, GETTERS, OF_A_CLASS, PRIMITIVE, is_decoration, passes_through, setter_of
from .declared import choices_of, options_of
from .file_names import CanvasNode, FileNames, is_saver
from .forms import WorkflowError, shown
from .group_nodes import Groups, open_groups
from .promoted import Promotion
from .slots import kind_of_input, widget_of, wire
from .ui_graph import BORDER_IN, BORDER_OUT, BYPASSED, MUTED, Graph, Link, Node, Slot, highest_id, is_ui, read_ui
from .widgets import CONTROL, controls, widget_places, widget_values

MOST = 50_000  # nodes that a graph may unfold into
PACK_FIELDS = {  # what the editor passes on about a node's pack, where it has the right form
    "cnr_id": r"[a-zA-Z0-9](?:[a-zA-Z0-9._-]{0,98}[a-zA-Z0-9])?",
    "aux_id": r"(?!-)(?!.*--)[a-zA-Z0-9-]{1,39}(?<!-)/[a-zA-Z0-9](?:[a-zA-Z0-9._-]{0,98}[a-zA-Z0-9])?",
    "ver": r"unknown|v?[0-9a-fA-F]{4,40}|v?(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*)){2}(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?",
}


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


@dataclass(frozen=True, kw_only=True)
class Converted:
    """A prompt whose file names still hold their tokens, and what fills them in."""

    prompt: dict[str, dict]
    names: FileNames


def workflow_to_prompt(ui: dict, object_info: Mapping[str, dict]) -> dict[str, dict]:
    """API prompt of a graph saved by the editor (format 0.4 or 1), its file names filled in.

    Raises WorkflowError for a graph that is malformed or uses a class that `object_info` lacks. Warns where the file
    names a link that it does not have, and where a node is left out.
    """
    converted = convert(ui, object_info)
    converted.names.fill(converted.prompt)
    return converted.prompt


def convert(ui: dict, object_info: Mapping[str, dict]) -> Converted:
    """As `workflow_to_prompt`, with the tokens of file names left in."""
    converter = Converter(ui, object_info)
    prompt = converter.convert()
    for line in converter.lost:
        warnings.warn(line, stacklevel=2)
    return Converted(prompt=prompt, names=FileNames(converter.canvas(), prompt, object_info, converter.texts))


class Converter:
    """One conversion of one graph."""

    def __init__(self, ui: dict, object_info: Mapping[str, dict]) -> None:
        if not is_ui(ui):
            raise WorkflowError("no list of nodes: save the graph from the editor again")
        self.object_info = object_info
        top, self.definitions = read_ui(ui)
        groups, graphs = Groups(ui, object_info), [top, *self.definitions.values()]
        last, self.lost = highest_id(graphs, 0), []
        told = ui.get("last_node_id")
        last = max(last, told) if type(told) is int else last
        for graph in graphs:
            self.lost += wire(graph, self.definitions, {**object_info, **groups.infos(graph)})
            last = open_groups(graph, groups, last)
        Promotion(top, self.definitions, object_info).settle()
        for graph in graphs:
            self._apply_primitives(graph)
        self.top = Place(top)
        self.inner: dict[str, Place] = {}
        self.origins: dict[tuple[str, Link, str], Constant | tuple[str, int] | None] = {}  # what lies behind a link
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
                inner = self._open(place, node)
                nodes = [found for found in inner.graph.ordered() if not found.idle or found.type in self.definitions]
                waiting += [(inner, found) for found in reversed(nodes)]
            elif node.type not in CANVAS_ONLY and not self._left_out(place, node):
                yield place, node

    def _left_out(self, place: Place, node: Node) -> bool:
        if node.type in self.object_info or not is_decoration(node, place.graph):
            return False
        where = shown(place.prefix + node.id)
        self.lost.append(f"node {where} ({shown(node.type)}) is unknown here and linked to nothing: it is left out")
        self.unknown.append((place, node))
        return True

    def _open(self, parent: Place, host: Node) -> Place:
        prefix = f"{parent.prefix}{host.id}:"
        if prefix not in self.inner:
            self.inner[prefix] = Place(self.definitions[host.type], prefix, host, parent)
        return self.inner[prefix]

    def _emit(self, place: Place, node: Node) -> dict:
        if node.type not in self.object_info:
            raise self._unknown(place, node)
        where, info = shown(place.prefix + node.id), self.object_info[node.type]
        inputs = {name: _wrapped(value) for name, value in self._values(place.graph, node).items()}
        for slot in node.inputs:
            if slot.link is None or not slot.name:
                continue
            origin = self._origin(place, slot, f"node {where}, input {shown(slot.name)}")
            if isinstance(origin, Constant):
                inputs[slot.name] = _wrapped(origin.value)
            elif origin is not None:
                inputs[slot.name] = list(origin)
        title = node.title or info.get("display_name") or node.type
        return {"class_type": node.type, "inputs": inputs, "_meta": {"title": title, **_pack_of(node)}}

    def _values(self, graph: Graph, node: Node) -> dict[str, Any]:
        """The values of a node's widgets, as saved or as a PrimitiveNode wrote them."""
        values = widget_values(node, self.object_info[node.type])
        return {name: graph.forced.get((node.id, name), value) for name, value in values.items()}

    def _origin(self, place: Place, slot: Slot, where: str) -> Constant | tuple[str, int] | None:
        """Where an input really gets its value: through reroutes, bypassed nodes and borders of subgraphs.

        A muted node gives nothing, so that a widget it feeds keeps its own value (the oldest editors drop that, too).
        The type asked for stays the same through reroutes, which have none of their own. What lies behind a link is found
        once, however many inputs read through it.
        """
        steps: list[tuple[str, Link, str]] = []
        found = self._walk(place, slot, where, steps)
        self.origins.update(dict.fromkeys(steps, found))
        return found

    def _walk(
        self, place: Place, slot: Slot, where: str, steps: list[tuple[str, Link, str]]
    ) -> Constant | tuple[str, int] | None:
        seen, kind = set(), slot.kind
        while slot is not None and slot.link is not None:
            link = slot.link
            step = (place.prefix, link, str(kind))
            if step in self.origins:
                return self.origins[step]
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
                slot = bypassed_slot(source, link.slot, kind, self.object_info.get(source.type))
                kind = slot.kind if slot else kind
            elif source.type in self.definitions:
                place = self._open(place, source)
                slot = self._border_slot(place, link.slot)
            elif source.type in CANVAS_ONLY:
                place, slot = self._behind(place, source, link.slot)
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
    def _border_slot(place: Place, number: int) -> Slot | None:
        """What feeds output `number` of a subgraph inside, as if it were an input: the link that the output names, else
        one that ends in it.
        """
        outputs, links = place.graph.outputs, place.graph.links
        numbers = outputs[number].numbers if 0 <= number < len(outputs) else []
        ends = (link for link in links.values() if (link.target, link.target_slot) == (BORDER_OUT, number))
        link = next((links[key] for key in numbers if key in links), None) or next(ends, None)
        return Slot(name="", link=link) if link else None

    def _behind(self, place: Place, node: Node, output: int) -> tuple[Place, Slot | None]:
        """The input that an output of a node of the canvas only stands for, and where it is."""
        if node.type in GETTERS:
            around = place.around()
            found = setter_of(node, [item.graph for item in around])
            if found is None:
                return place, None
            place, node = around[found[0]], found[1]
        elif not passes_through(node):
            return place, None
        return place, next(iter(node.inputs), None)

    def _apply_primitives(self, graph: Graph) -> None:
        """Write what PrimitiveNodes hold into the widgets they are joined to directly, whatever mode they are in."""
        ends: dict[str, list[tuple[Node, Slot]]] = {}
        for node in graph.nodes.values():
            for slot in node.inputs:
                if slot.link is not None:
                    ends.setdefault(slot.link.origin, []).append((node, slot))
        order = {number: index for index, number in enumerate(graph.links)}
        for primitive in graph.nodes.values():
            if primitive.type == PRIMITIVE:
                own = sorted(ends.get(primitive.id, []), key=lambda end: order.get(end[1].link.id, 0))
                self._apply_primitive(graph, primitive, own)

    def _apply_primitive(self, graph: Graph, primitive: Node, ends: list[tuple[Node, Slot]]) -> None:
        found = [(node, slot, self._widget(node, slot)) for node, slot in ends]
        specs = [spec for _, _, spec in found if spec is not None]
        if not specs or found[0][2] is None:
            return
        values = primitive.values
        own = primitive.outputs[0].kind == kind_of_input(specs[0]) if primitive.outputs else False
        if own and isinstance(values, list) and values:
            value = values[0]
        else:
            value = widget_values(found[0][0], self.object_info[found[0][0].type]).get(found[0][1].widget)
        value = fitted(value, specs)
        for node, slot, spec in found:
            if spec is not None:
                graph.forced[node.id, slot.widget] = value
                if primitive.properties.get("Run widget replace on values") and isinstance(value, str):
                    graph.texts.add((node.id, slot.widget))

    def _widget(self, node: Node, slot: Slot) -> list | None:
        info = self.object_info.get(node.type)
        return widget_of(info, slot.widget) if info and slot.widget else None

    def canvas(self) -> Iterator[CanvasNode]:
        """Every node with its title and widgets, for the tokens of file names: inner ones before their instance."""
        waiting, count = [(self.top, node, False) for node in reversed(self.top.graph.nodes.values())], 0
        while waiting and count < MOST:
            place, node, opened = waiting.pop()
            if node.type in self.definitions and not opened:
                inner = self._open(place, node)
                waiting.append((place, node, True))
                waiting += [(inner, found, False) for found in reversed(inner.graph.nodes.values())]
                continue
            count += 1
            yield self._canvas_node(place, node)

    def _canvas_node(self, place: Place, node: Node) -> CanvasNode:
        key, info = place.prefix + node.id, self.object_info.get(node.type)
        alias = node.properties.get(OF_A_CLASS)
        title = node.title
        if node.type in self.definitions:
            values, title = dict(node.promoted), title or self.definitions[node.type].name
        elif info is not None:
            values = {**self._control_values(node, info), **self._values(place.graph, node)}
            alias = node.properties.get(OF_A_CLASS, None if is_saver(info) else node.type)
            title = title or info.get("display_name") or node.type
        else:
            first = node.values[0] if isinstance(node.values, list) and node.values else None
            values = {"value" if node.type == PRIMITIVE else "text": first}
        return CanvasNode(id=key, type=node.type, alias=alias, title=title, values=values)

    @staticmethod
    def _control_values(node: Node, info: dict) -> dict[str, Any]:
        values = node.values if isinstance(node.values, list) else []
        places = [index + 1 for name, spec, index in widget_places(info, values) if controls(name, spec)]
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


def fitted(value: Any, specs: list[list]) -> Any:
    """A PrimitiveNode's number within the limits that all its targets share, and whole for whole numbers."""
    kinds = {spec[0] for spec in specs if choices_of(spec) is None}
    if len(kinds) != 1 or not kinds <= {"INT", "FLOAT"} or isinstance(value, (bool, str, list, dict)):
        return value
    if value is None:
        return 0
    low = max(options_of(spec).get("min", -math.inf) for spec in specs)
    high = min(options_of(spec).get("max", math.inf) for spec in specs)
    if low <= high and not math.isnan(value):
        value = min(max(value, low), high)
    if kinds == {"INT"} and isinstance(value, float) and math.isfinite(value):
        return math.floor(value + 0.5)
    return value


def bypassed_slot(node: Node, output: int, kind: Any, info: dict | None = None) -> Slot | None:
    """The input that a bypassed node passes on as its output number `output` to an input of type `kind`."""
    inputs = node.inputs
    kinds = info["output"] if info else [slot.kind for slot in node.outputs]
    out_kind = kinds[output] if 0 <= output < len(kinds) else kind
    opposite = inputs[output] if 0 <= output < len(inputs) else None
    if kind in ("*", ""):  # anything will do
        return opposite or next(iter(inputs), None)
    fitting = [slot for slot in inputs if fits(slot.kind, kind) and fits(slot.kind, out_kind)]
    if any(slot is opposite for slot in fitting):
        return opposite
    return next((slot for slot in inputs if slot.kind == kind), None) or next(iter(fitting), None)


def fits(a: Any, b: Any) -> bool:
    """Whether the editor lets an output of type `a` feed an input of type `b`: equal, wild, or lists that overlap."""
    if any(kind in ("*", "", None, 0) for kind in (a, b)) or a == b:
        return True
    left, right = ({part.strip() for part in str(kind).lower().split(",")} for kind in (a, b))
    return bool(left & right)
