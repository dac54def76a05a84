"""Which inputs does a node have on the canvas, and which link ends in each?

The list of links decides, as in the editor: what an input says of its link only tells a link's input by name, so that
a graph saved with other inputs than the class has today still fits. An input's own note of a link that is not in the
list connects nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..declared import SECTIONS, choices_of, is_widget
from .forms import shown
from .ui_graph import Graph, Link, Node, Slot


def wire(graph: Graph, definitions: Mapping[str, Graph], object_info: Mapping[str, dict]) -> list[str]:
    """Lay out the inputs of every node, and set their links. Returns what was lost on the way, one line each."""
    links, alias = surviving(graph)
    graph.links = {link.id: link for link in links}
    ending: dict[str, list[Link]] = {}
    for link in links:
        ending.setdefault(link.target, []).append(link)
    lost = []
    for node in graph.nodes.values():
        saved = [(slot.name, alias.get(slot.number, slot.number)) for slot in node.inputs if slot.number is not None]
        info = object_info.get(node.type)
        slots = laid_out(node, definitions.get(node.type), info)
        place(ending.get(node.id, []), slots, saved)
        widgets = {name for name, spec in specs_of(info) if is_widget(spec)} if info else None
        node.inputs = [slot for slot in slots if widgets is None or slot.widget is None or slot.widget in widgets]
        lost += _lost(node, saved, ending.get(node.id, []), info)
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


def specs_of(info: dict) -> Iterable[tuple[str, list]]:
    """Name and specification of every input that a class declares, in the editor's order."""
    for section in SECTIONS:
        specs = info["input"].get(section, {})
        for name in info.get("input_order", {}).get(section, specs):
            yield name, specs[name]


def laid_out(node: Node, definition: Graph | None, info: dict | None) -> list[Slot]:
    """The inputs of a node: those of its class, sockets before widgets, then what else the file has."""
    if definition is not None:
        return [Slot(name=border.name, kind=border.kind) for border in definition.inputs]
    if info is None:
        return [Slot(name=slot.name, kind=slot.kind, widget=slot.widget) for slot in node.inputs]
    declared = list(specs_of(info))
    sockets = [Slot(name=name, kind=kind_of_input(spec)) for name, spec in declared if not is_widget(spec)]
    widgets = [Slot(name=name, kind=kind_of_input(spec), widget=name) for name, spec in declared if is_widget(spec)]
    known = {name for name, _ in declared}
    extra = [slot for slot in node.inputs if slot.name not in known]
    return sockets + widgets + [Slot(name=slot.name, kind=slot.kind, widget=slot.widget) for slot in extra]


def kind_of_input(spec: list) -> str:
    return "COMBO" if choices_of(spec) is not None else str(spec[0])


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


def _lost(node: Node, saved: list[tuple[str, int | None]], links: list[Link], info: dict | None) -> list[str]:
    """A line for each optional socket that names a link which is not there: it would vanish in silence otherwise."""
    if info is None or node.idle:
        return []
    optional = {name for name in info["input"].get("optional", {})}
    ends = {link.id for link in links}
    linked = {slot.name for slot in node.inputs if slot.link is not None}
    return [
        f"node {shown(node.id)}: the input {shown(name)} names link {number}, which the graph does not have: it is left open"
        for name, number in saved
        if name in optional and number not in ends and name not in linked
    ]


def widget_of(info: dict, name: str) -> list | None:
    """The specification of the widget `name`, or None where the class has no such widget."""
    return next((spec for known, spec in specs_of(info) if known == name and is_widget(spec)), None)
