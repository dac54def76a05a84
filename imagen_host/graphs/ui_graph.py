"""What is in a graph that the editor saved: nodes, slots and links, in format 0.4, 1 or inside a subgraph, checked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .forms import WorkflowError, as_id, as_index, as_list, as_object, shown, take

MUTED, BYPASSED = 2, 4
BORDER_IN, BORDER_OUT = "-10", "-20"  # the ids by which links inside a subgraph name its border


@dataclass(frozen=True)
class Link:
    id: int
    origin: str
    slot: int
    target: str
    target_slot: int
    kind: Any = None


@dataclass(kw_only=True)
class Slot:
    """An input or output of a node. `number` is the link that the file names; `link` the one that really ends here."""

    name: str
    kind: Any = "*"
    number: int | None = None
    widget: str | None = None
    link: Link | None = None


@dataclass(kw_only=True)
class Border:
    """An input or output of a subgraph, and the numbers of the links inside that use it."""

    name: str
    kind: Any = "*"
    numbers: list[int] = field(default_factory=list)


@dataclass(kw_only=True, eq=False)
class Node:
    id: str
    type: str
    title: str | None = None
    mode: int = 0
    order: float = 0
    inputs: list[Slot] = field(default_factory=list)
    outputs: list[Slot] = field(default_factory=list)
    values: list | dict | None = None
    named: dict | None = None
    properties: dict = field(default_factory=dict)
    promoted: dict[str, Any] = field(default_factory=dict)  # of a subgraph's instance: the values of its own widgets

    @property
    def idle(self) -> bool:
        return self.mode in (MUTED, BYPASSED)


@dataclass(kw_only=True, eq=False)
class Graph:
    """The top graph, or the definition of a subgraph, whose instances share it."""

    nodes: dict[str, Node]
    links: dict[int, Link]
    inputs: list[Border] = field(default_factory=list)
    outputs: list[Border] = field(default_factory=list)
    name: str = ""
    forced: dict[tuple[str, str], Any] = field(default_factory=dict)  # what PrimitiveNodes write into widgets
    texts: set[tuple[str, str]] = field(default_factory=set)  # those of them with tokens as in a file name

    def ordered(self) -> list[Node]:
        """The nodes in the order in which the editor runs them."""
        return sorted(self.nodes.values(), key=lambda node: node.order)


def is_ui(data: Any) -> bool:
    """Whether parsed JSON has the form that the editor saves."""
    return isinstance(data, dict) and isinstance(data.get("nodes"), list)


def read_ui(ui: dict) -> tuple[Graph, dict[str, Graph]]:
    """The top graph, and the definitions of subgraphs by id, which is the type of their instances."""
    top = read_graph(ui, "")
    hosts = {node.type: f" (node {shown(node.id)})" for node in reversed(top.nodes.values())}
    definitions: dict[str, Graph] = {}
    for data in _flat(ui.get("definitions")):
        where = "definitions.subgraphs"
        key = as_id(data.get("id"), "the id of a subgraph", where)
        if key not in definitions:  # the editor, too, keeps the first of two
            definitions[key] = read_graph(data, f"subgraph {shown(key)}{hosts.get(key, '')}, ")
    return top, definitions


def _flat(definitions: Any) -> Iterator[dict]:
    """Every definition of a subgraph, also those inside another's own `definitions`."""
    if definitions is None:
        return
    found = as_object(definitions, "definitions").get("subgraphs")
    for item in as_list(found, "definitions.subgraphs"):
        yield as_object(item, "an entry of definitions.subgraphs")
        yield from _flat(item.get("definitions"))


def read_graph(data: dict, prefix: str = "") -> Graph:
    """A graph or a definition. `prefix` begins the messages about its nodes."""
    place = prefix.rstrip(", ") or "the graph"
    nodes: dict[str, Node] = {}
    for item in as_list(data.get("nodes"), "nodes", place):
        node = read_node(item, prefix)
        if node.id in nodes:
            raise WorkflowError(f"{prefix}two nodes have the id {shown(node.id)}: give each its own")
        nodes[node.id] = node
    links: dict[int, Link] = {}
    for item in as_list(data.get("links"), "links", place):
        if item is not None:
            link = read_link(item, place)
            links.setdefault(link.id, link)  # the editor, too, keeps the first of two
    return Graph(
        nodes=nodes,
        links=links,
        inputs=_borders(data, "inputs", place),
        outputs=_borders(data, "outputs", place),
        name=take(data, "name", (str,), place, ""),
    )


def read_node(data: Any, prefix: str = "") -> Node:
    if not isinstance(data, dict) or data.get("id") is None or not isinstance(data.get("type"), str):
        raise WorkflowError(f"{prefix}a node without id or type ({shown(data)}): save the graph from the editor again")
    key = as_id(data["id"], "the id of a node", prefix.rstrip(", ") or "the graph")
    where = f"{prefix}node {shown(key)}"
    return Node(
        id=key,
        type=data["type"],
        title=take(data, "title", (str,), where),
        mode=as_index(take(data, "mode", (int, float), where, 0), "mode", where),
        order=take(data, "order", (int, float), where, 0),
        inputs=[
            _input(item, number, where) for number, item in enumerate(as_list(data.get("inputs"), "inputs", where))
        ],
        outputs=[
            _output(item, number, where) for number, item in enumerate(as_list(data.get("outputs"), "outputs", where))
        ],
        values=take(data, "widgets_values", (list, dict), where),
        named=take(data, "widgets_values_named", (dict,), where),
        properties=take(data, "properties", (dict,), where, {}),
    )


def _input(data: Any, number: int, where: str) -> Slot:
    where = f"{where}, input {number}"
    data = as_object(data, "it", where)
    link, widget = data.get("link"), take(data, "widget", (dict,), where)
    name = take(data, "name", (str,), where, "")
    return Slot(
        name=name,
        kind=_kind(data, where),
        number=None if link is None else as_index(link, "link", where),
        widget=None if widget is None else take(widget, "name", (str,), f"{where}, widget", name),
    )


def _output(data: Any, number: int, where: str) -> Slot:
    where = f"{where}, output {number}"
    data = as_object(data, "it", where)
    as_list(data.get("links"), "links", where)
    return Slot(name=take(data, "name", (str,), where, ""), kind=_kind(data, where))


def _kind(data: dict, where: str) -> Any:
    """The type of a socket: a text, the number of an event, or a list of texts."""
    kind = take(data, "type", (str, int, list), where, "*")
    return ",".join(map(str, kind)) if isinstance(kind, list) else kind


def _borders(data: dict, side: str, place: str) -> list[Border]:
    borders = []
    for number, item in enumerate(as_list(data.get(side), side, place)):
        where = f"{place}, {side} {number}"
        item = as_object(item, "it", where)
        numbers = [as_index(link, "a linkId", where) for link in as_list(item.get("linkIds"), "linkIds", where)]
        borders.append(Border(name=take(item, "name", (str,), where, ""), kind=_kind(item, where), numbers=numbers))
    return borders


def read_link(item: Any, place: str = "the graph") -> Link:
    """A link in either form: [id, origin, slot, target, slot, type] or an object with those names."""
    names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    if isinstance(item, list) and len(item) >= 5:
        item = dict(zip(names, item, strict=False))
    if not isinstance(item, dict) or any(item.get(name) is None for name in names[:5]):
        raise WorkflowError(f"{place}: a malformed link ({shown(item)}): save the graph from the editor again")
    ends = [f"{word} node {shown(item[key])}" for word, key in (("from", "origin_id"), ("to", "target_id"))]
    where = f"{place}, link {shown(item['id'])} {' '.join(ends)}"
    return Link(
        id=as_index(item["id"], "id", where),
        origin=as_id(item["origin_id"], "origin_id", where),
        slot=as_index(item["origin_slot"], "origin_slot", where),
        target=as_id(item["target_id"], "target_id", where),
        target_slot=as_index(item["target_slot"], "target_slot", where),
        kind=item.get("type") if isinstance(item.get("type"), (str, int)) else None,
    )
