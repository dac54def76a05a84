"""Which class does the editor make of a group node of an old graph (`extra.groupNodes`)?

Its inputs and outputs are those of its inner nodes that nothing inside feeds, its widgets those of its inner nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..declared import InputSpec
from .canvas_only import CANVAS_ONLY, PRIMITIVE, REROUTES
from .classes import NodeClass
from .forms import WorkflowError, as_index, as_list, as_object, shown, take
from .ui_graph import Graph, Node, read_node
from .widgets import CONTROL

PREFIXES = ("workflow>", "workflow/")


@dataclass(frozen=True, kw_only=True)
class InnerLink:
    origin: int
    slot: int
    target: int
    target_slot: int
    kind: Any


@dataclass(kw_only=True)
class Group:
    """The class that a group stands for, and where its inputs, outputs and widgets are inside."""

    name: str
    nodes: list[Node]
    links: list[InnerLink]
    external: set[tuple[int, int]]
    config: dict
    inputs: dict[str, InputSpec] = field(default_factory=dict)  # in the order of its widgets
    outputs: list[tuple[str, int, int]] = field(default_factory=list)  # type, inner node, its output
    sockets: list[tuple[int, str]] = field(default_factory=list)  # inner node and input, by number of the group's input
    widgets: dict[str, tuple[int, str]] = field(default_factory=dict)  # inner node and widget, by name on the group

    def as_class(self) -> NodeClass:
        """The group as the class that the editor makes of it."""
        return NodeClass(inputs=self.inputs, outputs=tuple(kind for kind, _, _ in self.outputs))

    def link_to(self, node: int, slot: int) -> InnerLink | None:
        found = [link for link in self.links if (link.target, link.target_slot) == (node, slot)]
        return found[-1] if found else None

    def links_from(self, node: int, slot: int | None = None) -> list[InnerLink]:
        return [link for link in self.links if link.origin == node and slot in (None, link.slot)]


def group_name(kind: str) -> str | None:
    """The name of the group that a node of this type is, or None."""
    return next((kind[len(prefix) :] for prefix in PREFIXES if kind.startswith(prefix)), None)


class Groups:
    """The groups of one saved graph, described as classes when they are met."""

    def __init__(self, ui: dict, classes: Mapping[str, NodeClass]) -> None:
        extra = ui.get("extra")
        stored = extra.get("groupNodes") if isinstance(extra, dict) else None
        self.stored = {} if stored is None else as_object(stored, "extra.groupNodes")
        self.classes = classes
        self.known: dict[str, Group] = {}
        self.open: list[str] = []  # groups that are being described

    def known_to(self, graph: Graph) -> dict[str, NodeClass]:
        """The classes of the graph's nodes, groups among them."""
        kinds = {node.type for node in graph.nodes.values()}
        return {kind: cls for kind in kinds if (cls := self.class_of(kind)) is not None}

    def get(self, name: str) -> Group:
        if name in self.open:
            raise WorkflowError(f"extra.groupNodes: the group {shown(name)} contains itself: take it out")
        if name not in self.known:
            self.open.append(name)
            group = read_group(name, self.stored[name])
            Describer(group, self).describe()
            self.known[name] = group
            self.open.pop()
        return self.known[name]

    def class_of(self, kind: str) -> NodeClass | None:
        """A class, or a group as one; None for what is neither."""
        if kind in self.classes:
            return self.classes[kind]
        name = group_name(kind)
        return self.get(name).as_class() if name in self.stored else None


def read_group(name: str, data: Any) -> Group:
    where = f"extra.groupNodes, group {shown(name)}"
    data = as_object(data, "it", where)
    nodes = []
    for number, item in enumerate(as_list(data.get("nodes"), "nodes", where)):
        nodes.append(read_node({**as_object(item, f"node {number}", where), "id": number}, f"{where}, "))
    links = [_read_link(item, where) for item in as_list(data.get("links"), "links", where)]
    external = [item for item in as_list(data.get("external"), "external", where) if isinstance(item, list)]
    return Group(
        name=name,
        nodes=nodes,
        links=[link for link in links if link and link.origin < len(nodes) and link.target < len(nodes)],
        external={
            (as_index(i[0], "external", where), as_index(i[1], "external", where)) for i in external if len(i) > 2
        },
        config=take(data, "config", (dict,), where, {}),
    )


def _read_link(item: Any, where: str) -> InnerLink | None:
    """A link [from node, output, to node, input, id, type]; None for one that came from outside."""
    if not isinstance(item, list) or len(item) < 4:
        raise WorkflowError(f"{where}: a malformed link ({shown(item)}): save the graph from the editor again")
    if item[0] is None:
        return None
    origin, slot, target, target_slot = (as_index(part, "a link", where) for part in item[:4])
    if min(origin, target) < 0:
        raise WorkflowError(f"{where}: a malformed link ({shown(item)}): save the graph from the editor again")
    kind = item[5] if len(item) > 5 and isinstance(item[5], (str, int)) else None
    return InnerLink(origin=origin, slot=slot, target=target, target_slot=target_slot, kind=kind)


class Describer:
    """Works out the inputs and outputs of a group. Names that appear twice get the inner node's title before them."""

    def __init__(self, group: Group, groups: Groups) -> None:
        self.group, self.groups = group, groups
        self.seen: dict[str, int] = {}
        self.converted: list[tuple[int, InputSpec]] = []  # widgets that have an input slot: they come last

    def describe(self) -> None:
        for index, node in enumerate(self.group.nodes):
            cls = self._class(index, node)
            if cls is not None:
                self._inputs(index, node, cls)
                self._outputs(index, cls)
        for index, spec in self.converted:
            if not self._fed_inside(index, spec.name, 0):
                self._add_widget(index, spec)
                self.group.sockets.append((index, spec.name))

    def _class(self, index: int, node: Node) -> NodeClass | None:
        """The class of an inner node; of a PrimitiveNode and a Reroute at the border what they would be as classes."""
        leaving = self.group.links_from(index)
        if node.type == PRIMITIVE:
            return self._primitive(leaving[0]) if leaving else None
        if node.type in REROUTES:
            inside = self.group.link_to(index, 0) and leaving
            if inside and (index, 0) not in self.group.external:
                return None
            kind = next((str(link.kind) for link in leaving if link.kind is not None), "*")
            return NodeClass(inputs={kind: InputSpec(kind, [kind, {"forceInput": True}], True)}, outputs=(kind,))
        return None if node.type in CANVAS_ONLY else self.groups.class_of(node.type)

    def _primitive(self, link: InnerLink) -> NodeClass | None:
        target = self.group.nodes[link.target]
        cls = self.groups.class_of(target.type)
        name = target.inputs[link.target_slot].name if 0 <= link.target_slot < len(target.inputs) else None
        if cls is None or name not in cls.inputs:
            return None
        value = with_control("value", cls.inputs[name], True)
        return NodeClass(inputs={"value": value}, outputs=(link.kind or "*",))

    def _inputs(self, index: int, node: Node, cls: NodeClass) -> None:
        """Widgets without a slot and sockets, now; widgets with one are put off to the end."""
        slots = [slot.name for slot in node.inputs if slot.widget == slot.name]
        sockets = []
        for spec in cls.inputs.values():
            if not spec.is_widget:
                sockets.append(spec)
            elif spec.name in slots:
                self.converted.append((index, spec))
            else:
                self._add_widget(index, spec)
        for place, spec in enumerate(sockets):
            if self._fed_inside(index, spec.name, place):
                continue
            label = self._label(index, spec.name)
            if self._config(index, "input", spec.name).get("visible") is not False:
                self.group.inputs[label] = replace(spec, name=label, required=True)
                self.group.sockets.append((index, spec.name))

    def _add_widget(self, index: int, spec: InputSpec) -> None:
        """Show an inner widget on the group, with the control that the editor gives to a seed."""
        label = self._label(index, spec.name)
        seed = spec.name in ("seed", "noise_seed")
        self.group.inputs[label] = (
            with_control(label, spec, label) if seed else replace(spec, name=label, required=True)
        )
        self.group.widgets.setdefault(label, (index, spec.name))

    def _fed_inside(self, index: int, name: str, place: int) -> bool:
        names = [slot.name for slot in self.group.nodes[index].inputs]
        return self.group.link_to(index, names.index(name) if name in names else place) is not None

    def _outputs(self, index: int, cls: NodeClass) -> None:
        for slot, kind in enumerate(cls.outputs):
            used = self.group.links_from(index, slot) and (index, slot) not in self.group.external
            visible = self._config(index, "output", str(slot)).get("visible")
            if (not used) if visible is None else visible:
                self.group.outputs.append((str(kind), index, slot))

    def _config(self, index: int, side: str, name: str) -> dict:
        """What the user set for an input or output in the dialog for groups."""
        found: Any = self.group.config
        for key in (str(index), side, name):
            found = found.get(key) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else {}

    def _label(self, index: int, name: str) -> str:
        node = self.group.nodes[index]
        given = self._config(index, "input", name).get("name")
        label = key = given if isinstance(given, str) else name
        if (node.type == PRIMITIVE and node.title) or label in self.seen:
            prefix = f"{node.title or node.type} "
            label = key = prefix + name
            if label in self.seen:
                label = f"{prefix}{self.seen[label]} {name}"
        self.seen[key] = self.seen.get(key, 1) + 1
        return label


def with_control(name: str, spec: InputSpec, control: str | bool) -> InputSpec:
    """The input under another name, and with a control for what happens to it after a run."""
    return InputSpec(name, [spec.kind, {**spec.options, CONTROL: control}], True)
