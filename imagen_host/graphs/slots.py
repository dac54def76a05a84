"""Which inputs does a node have on the canvas, and which link ends in each?

The list of links decides, as in the editor: what an input says of its link only tells a link's input by name, so that
a graph saved with other inputs than the class has today still fits. An input's own note of a link that is not in the
list connects nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from .classes import NodeClass
from .forms import shown
from .ui_graph import Graph, Link, Node, Slot


def wire(graph: Graph, definitions: Mapping[str, Graph], classes: Mapping[str, NodeClass]) -> list[str]:
    """Lay out the inputs of every node, and set their links. Returns what was lost on the way, one line each."""
    links, alias = surviving(graph)
    graph.links = {link.id: link for link in links}
    ending: dict[str, list[Link]] = {}
    for link in links:
        ending.setdefault(link.target, []).append(link)
    lost = []
    for node in graph.nodes.values():
        saved = [(slot.name, alias.get(slot.number, slot.number)) for slot in node.inputs if slot.number is not None]
        cls = classes.get(node.type)
        slots = laid_out(node, definitions.get(node.type), cls)
        place(ending.get(node.id, []), slots, saved)
        node.inputs = [slot for slot in slots if cls is None or slot.widget is None or cls.widget(slot.widget)]
        lost += _lost(node, saved, ending.get(node.id, []), cls)
    for border in (*graph.inputs, *graph.outputs):
        border.numbers = list(dict.fromkeys(alias.get(number, number) for number in border.numbers))
    return lost


def surviving(graph: Graph) -> tuple[list[Link], dict[int, int]]:
    """One link for each input: the first, unless only a later one is what some input names; and who replaces whom."""
    named = {slot.number for node in graph.nodes.values() for slot in node.inputs if slot.number is not None}
    kept: dict[tuple[str, int], Link] = {}
    for link in graph.links.values():
        rival = kept.setdefault((link.target, link.target_slot), link)
        same = (rival.origin, rival.slot) == (link.origin, link.slot)
        if not same and link.id in named and rival.id not in named:
            kept[link.target, link.target_slot] = link
    alias = {link.id: kept[link.target, link.target_slot].id for link in graph.links.values()}
    return list(kept.values()), alias


def laid_out(node: Node, definition: Graph | None, cls: NodeClass | None) -> list[Slot]:
    """The inputs of a node: those of its class, sockets before widgets, then what else the file has."""
    if definition is not None:
        return [Slot(name=border.name, kind=border.kind) for border in definition.inputs]
    if cls is None:
        return [Slot(name=slot.name, kind=slot.kind, widget=slot.widget) for slot in node.inputs]
    specs = cls.inputs.values()
    sockets = [Slot(name=spec.name, kind=spec.socket) for spec in specs if not spec.is_widget]
    widgets = [Slot(name=spec.name, kind=spec.socket, widget=spec.name) for spec in specs if spec.is_widget]
    extra = [slot for slot in node.inputs if slot.name not in cls.inputs]
    return sockets + widgets + [Slot(name=slot.name, kind=slot.kind, widget=slot.widget) for slot in extra]


def place(links: list[Link], slots: list[Slot], saved: list[tuple[str, int | None]]) -> None:
    """Let each link end in the input of the name that the file gives it, else in the one of its number."""
    names: dict[int, list[str]] = {}
    for name, number in saved:
        names.setdefault(number, []).append(name)
    held: dict[int, Link] = {link.target_slot: link for link in links if link.id not in names}
    unmatched = []
    for link in links:
        fitting = [index for index, slot in enumerate(slots) if slot.name in names.get(link.id, ())]
        if fitting:
            index = link.target_slot if link.target_slot in fitting else fitting[0]
            held.setdefault(index if index not in held else link.target_slot, link)
        elif link.id in names:
            unmatched.append(link)
    for link in unmatched:
        held.setdefault(link.target_slot, link)
    for index, link in held.items():
        if 0 <= index < len(slots):
            slots[index].link = link


def _lost(node: Node, saved: list[tuple[str, int | None]], links: list[Link], cls: NodeClass | None) -> list[str]:
    """A line for each optional socket that names a link which is not there: it would vanish in silence otherwise."""
    if cls is None or node.idle:
        return []
    optional = {name for name, spec in cls.inputs.items() if not spec.required}
    ends = {link.id for link in links}
    linked = {slot.name for slot in node.inputs if slot.link is not None}
    return [
        f"node {shown(node.id)}: the input {shown(name)} names link {number}, which the graph does not have: it is left open"
        for name, number in saved
        if name in optional and number not in ends and name not in linked
    ]
