"""Which values does the instance of a subgraph hold for widgets inside it?

An input of a subgraph that leads to a widget is shown on each instance as a widget of its own. Graphs of older editors
list in `properties.proxyWidgets` which widgets an instance shows, in the order of its values, also such as no input
leads to; the editor makes inputs of them when it loads the graph, and so do we.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from .canvas_only import PRIMITIVE
from .classes import NodeClass
from .forms import WorkflowError, shown
from .ui_graph import BORDER_IN, Border, Graph, Link, Node, Slot
from .widgets import CONTROL, controls, widget_values

DEEPEST = 50  # subgraphs inside each other
OWN = "-1"  # the id by which an old list names the instance itself
PREFIX = re.compile(r"^\s*(\d+)\s*:\s*(.+)$")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of `proxyWidgets`: a widget `name` of the node `source` inside; `deepest` tells two alike apart."""

    source: str
    name: str
    deepest: str | None
    index: int  # of its value


class Promotion:
    """Sets `promoted` of every instance of a subgraph, innermost first."""

    def __init__(self, top: Graph, definitions: Mapping[str, Graph], classes: Mapping[str, NodeClass]) -> None:
        self.top, self.definitions, self.classes = top, definitions, classes
        self.instances: dict[str, list[Node]] = {}  # those that are settled, by definition
        self.done: set[str] = set()

    def settle(self) -> None:
        self._visit(self.top, ())

    def _visit(self, graph: Graph, path: tuple[str, ...]) -> None:
        if len(path) >= DEEPEST:
            raise WorkflowError(f"subgraphs nested more than {DEEPEST} deep: that is no workflow")
        hosts = [node for node in graph.nodes.values() if node.type in self.definitions]
        for host in hosts:
            if host.type in path:
                raise WorkflowError(
                    f"node {shown(host.id)}: the subgraph {shown(host.type)} contains itself: take it out"
                )
            if host.type not in self.done:
                self._visit(self.definitions[host.type], (*path, host.type))
                self.done.add(host.type)
        for host in hosts:
            self._start(host)
        for host in hosts:
            self._migrate(host)

    def _start(self, host: Node) -> None:
        """The values as listed, one for each input that leads to a widget; those that the editor put aside by name."""
        definition = self.definitions[host.type]
        late = definition.inputs[len(host.inputs) :]  # made for another instance
        host.inputs += [Slot(name=border.name, kind=border.kind) for border in late]
        aside, index = _put_aside(host), 0
        for border in definition.inputs:
            target = self.target(definition, border)
            if target is None:
                continue
            value = self._inner_value(*target)
            if isinstance(host.values, list) and index < len(host.values):
                value = host.values[index]
            elif not isinstance(host.values, list):
                value = (host.values or host.named or {}).get(border.name, value)
            host.promoted[border.name] = aside.get(border.name, value)
            index += 1
        self.instances.setdefault(host.type, []).append(host)

    def target(self, graph: Graph, border: Border) -> tuple[Node, Slot] | None:
        """The first widget that an input of a subgraph leads to."""
        for number in border.numbers:
            found = self._end(graph, number)
            if found and self._is_widget(*found):
                return found
        return None

    @staticmethod
    def _end(graph: Graph, number: int) -> tuple[Node, Slot] | None:
        link = graph.links.get(number)
        node = graph.nodes.get(link.target) if link else None
        if node is None or not 0 <= link.target_slot < len(node.inputs):
            return None
        slot = next((slot for slot in node.inputs if slot.link is link), None)
        return (node, slot) if slot else None

    def _is_widget(self, node: Node, slot: Slot) -> bool:
        return slot.name in node.promoted if node.type in self.definitions else slot.widget is not None

    def _inner_value(self, node: Node, slot: Slot) -> Any:
        if node.type in self.definitions:
            return node.promoted.get(slot.name)
        cls = self.classes.get(node.type)
        return widget_values(node, cls).get(slot.widget) if cls else None

    def _migrate(self, host: Node) -> None:
        """Bring the old list of shown widgets into inputs, and its values to them."""
        definition = self.definitions[host.type]
        entries = [self._normal(definition, entry) for entry in read_proxies(host)]
        plans = [self._known(definition, entry) for entry in entries]
        values = host.values if isinstance(host.values, list) else []
        for entry, name in zip(entries, plans, strict=True):
            name = name or self._expose(definition, entry)
            if name in host.promoted and entry.index < len(values):
                host.promoted[name] = values[entry.index]

    def _normal(self, definition: Graph, entry: Entry) -> Entry:
        """The entry without the ids that some editors wrote before the widget's name."""
        if self._resolves(definition, entry):
            return entry
        name, deepest = entry.name, entry.deepest
        while found := PREFIX.match(name):
            deepest, name = found[1], found[2]
        return replace(entry, name=name, deepest=deepest)

    def _resolves(self, definition: Graph, entry: Entry) -> bool:
        node = definition.nodes.get(entry.source)
        if node is None:
            return False
        if node.type in self.definitions:
            return entry.name in node.promoted
        return entry.name in self._widget_names(node)

    def _widget_names(self, node: Node) -> set[str]:
        cls = self.classes.get(node.type)
        if cls is None:
            return {"value"} if node.type == PRIMITIVE else set()
        widgets = [spec for spec in cls.inputs.values() if spec.is_widget]
        return {spec.name for spec in widgets} | {CONTROL for spec in widgets if controls(spec)}

    def _known(self, definition: Graph, entry: Entry) -> str | None:
        """The input of the subgraph that already leads to the entry's widget."""
        if entry.source == OWN:
            return entry.name
        for border in definition.inputs:
            for number in border.numbers:
                found = self._end(definition, number)
                if found is None or not (found[0].type in self.definitions or found[1].widget):
                    continue
                if found[0].id == entry.source and (found[1].widget or found[1].name) == entry.name:
                    return border.name
                break
        return None

    def _expose(self, definition: Graph, entry: Entry) -> str | None:
        """Make an input for the entry's widget in the subgraph; None where there is no such widget, or it takes no link."""
        node = definition.nodes.get(entry.source)
        if node is None or entry.name.startswith("$$"):
            return None
        if node.type == PRIMITIVE:
            return self._replace_primitive(definition, node, entry)
        slot = self._slot(node, entry)
        return self._add(definition, entry.name, [(node, slot)]) if slot else None

    def _slot(self, node: Node, entry: Entry) -> Slot | None:
        """The input slot of the entry's widget: of an inner instance also by the widget that its input leads to."""
        if node.type not in self.definitions:
            return next((slot for slot in node.inputs if slot.widget == entry.name), None)
        inner = self.definitions[node.type]
        for slot, border in zip(node.inputs, inner.inputs, strict=False):
            target = self.target(inner, border)
            leads = target is not None and (target[1].widget or target[1].name) == entry.name
            right = leads and target[0].id == entry.deepest if entry.deepest else leads or slot.name == entry.name
            if right and slot.name in node.promoted:
                return slot
        return None

    def _replace_primitive(self, definition: Graph, primitive: Node, entry: Entry) -> str | None:
        """Let a new input feed what a PrimitiveNode fed; where the targets differ in their limits, it stays as it is."""
        ends = [
            (node, slot)
            for node in definition.nodes.values()
            for slot in node.inputs
            if slot.link is not None and slot.link.origin == primitive.id
        ]
        if len(ends) != 1 or ends[0][1].widget is None:
            return None
        renamed = primitive.title not in (None, "", PRIMITIVE)
        return self._add(definition, primitive.title if renamed else entry.name, ends)

    def _add(self, definition: Graph, name: str, ends: list[tuple[Node, Slot]]) -> str:
        taken = {border.name for border in definition.inputs}
        unique = next(n for i in range(len(taken) + 1) if (n := f"{name}_{i}" if i else name) not in taken)
        border = Border(name=unique, kind=ends[0][1].kind)
        for node, slot in ends:
            index = node.inputs.index(slot)
            number = max(definition.links, default=0) + 1
            if slot.link is not None:
                definition.links.pop(slot.link.id, None)
                for other in definition.inputs:
                    other.numbers = [known for known in other.numbers if known != slot.link.id]
            slot.link = Link(number, BORDER_IN, len(definition.inputs), node.id, index, slot.kind)
            definition.links[number] = slot.link
            border.numbers.append(number)
        definition.inputs.append(border)
        for instance in self.instances[self._id_of(definition)]:
            instance.inputs.append(Slot(name=unique, kind=border.kind))
            instance.promoted[unique] = self._inner_value(*ends[0])
        return unique

    def _id_of(self, definition: Graph) -> str:
        return next(key for key, graph in self.definitions.items() if graph is definition)


def read_proxies(host: Node) -> list[Entry]:
    """The entries of `proxyWidgets`; none where the property is not a list of two or three texts each, as in the editor."""
    stored = host.properties.get("proxyWidgets")
    if isinstance(stored, str):
        try:
            stored = json.loads(stored)
        except (ValueError, RecursionError):
            return []
    if not isinstance(stored, list):
        return []
    if not all(isinstance(item, list) and len(item) in (2, 3) for item in stored):
        return []
    if not all(isinstance(part, str) for item in stored for part in item):
        return []
    return [
        Entry(source=item[0], name=item[1], deepest=item[2] if len(item) > 2 else None, index=index)
        for index, item in enumerate(stored)
    ]


def _put_aside(host: Node) -> dict[str, Any]:
    """Values that an editor could not place when it brought old lists over, by the name of the input."""
    stored = host.properties.get("proxyWidgetErrorQuarantine")
    result: dict[str, Any] = {}
    for item in stored if isinstance(stored, list) else []:
        original = item.get("originalEntry") if isinstance(item, dict) else None
        if isinstance(original, list) and len(original) > 1 and original[0] == OWN and "hostValue" in item:
            result.setdefault(str(original[1]), item["hostValue"])
    return result
