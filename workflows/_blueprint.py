"""How does a whole graph become one node? `wrap` puts a laid-out `Graph` into a subgraph with a face of its own."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from _layout import GAP, TOP, WIDTH, Graph, Node

INPUTS, OUTPUTS = -10, -20  # the ids of a subgraph's two borders
BORDER = 130  # width of a border
CONTROL = "control_after_generate"


@dataclass(frozen=True, kw_only=True)
class Face:
    """What shows outside: inputs and outputs as (node, name inside, name outside), and seeds, with their control.

    An input that has a widget inside has it outside as well; seeds are widgets only.
    """

    inputs: Sequence[tuple[Node, str, str]]
    seeds: Sequence[Node] = ()
    outputs: Sequence[tuple[Node, str, str]]


def wrap(graph: Graph, face: Face, name: str, title: str, description: str) -> dict:
    """A file of subgraphs/: one node whose inside is `graph`."""
    graph.close()
    key = str(uuid.uuid5(uuid.NAMESPACE_URL, f"imagen-nodes/subgraphs/{name}"))
    links = [_link(*link) for link in graph.links]
    inside = [_enter(key, links, i, *given) for i, given in enumerate(face.inputs)]
    outside = [_leave(key, links, i, *taken) for i, taken in enumerate(face.outputs)]
    right = max(node["pos"][0] + node["size"][0] for node in graph.nodes)
    definition = {
        "id": key,
        "version": 1,
        "state": {
            "lastGroupId": len(graph.groups),
            "lastNodeId": len(graph.nodes),
            "lastLinkId": len(links),
            "lastRerouteId": 0,
        },
        "revision": 0,
        "config": {},
        "name": title,
        "description": description,
        "inputNode": _border(INPUTS, -BORDER - GAP, inside),
        "outputNode": _border(OUTPUTS, right + GAP, outside),
        "inputs": inside,
        "outputs": outside,
        "widgets": [],
        "nodes": graph.nodes,
        "groups": [{"id": i + 1, **group} for i, group in enumerate(graph.groups)],
        "links": links,
        "extra": {},
    }
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"imagen-nodes/{name}")),
        "revision": 0,
        "last_node_id": len(graph.nodes) + 1,
        "last_link_id": len(links),
        "nodes": [_instance(key, len(graph.nodes) + 1, title, face)],
        "links": [],
        "groups": [],
        "definitions": {"subgraphs": [definition]},
        "config": {},
        "extra": {"description": description},
        "version": 0.4,
    }


def _instance(key: str, number: int, title: str, face: Face) -> dict:
    slots = [_slot(node, inner) | {"name": outer} for node, inner, outer in face.inputs]
    widgets = [[str(node.data["id"]), inner] for node, inner, _ in face.inputs if "widget" in _slot(node, inner)]
    seeds = [[str(node.data["id"]), widget] for node in face.seeds for widget in ("seed", CONTROL)]
    shown = [
        {"name": slot["name"], "type": slot["type"], "link": None}
        | ({"widget": {"name": slot["name"]}} if "widget" in slot else {})
        for slot in slots
    ]
    outputs = [{"name": outer, "type": _type(node, inner), "links": []} for node, inner, outer in face.outputs]
    node = {"id": number, "type": key, "pos": [0, TOP], "size": [WIDTH, 60 + 40 * (len(shown) + len(seeds))]}
    node |= {"flags": {}, "order": 0, "mode": 0, "inputs": shown, "outputs": outputs, "title": title}
    return node | {"properties": {"proxyWidgets": widgets + seeds}, "widgets_values": []}


def _slot(node: Node, name: str) -> dict:
    return next(slot for slot in node.data["inputs"] if slot["name"] == name)


def _type(node: Node, output: str) -> str:
    return node.info["output"][node.info["output_name"].index(output)]


def _link(number: int, origin: int, origin_slot: int, target: int, target_slot: int, kind: str) -> dict:
    link = {"id": number, "origin_id": origin, "origin_slot": origin_slot}
    return link | {"target_id": target, "target_slot": target_slot, "type": kind}


def _enter(key: str, links: list[dict], i: int, node: Node, inner: str, outer: str) -> dict:
    slot = _slot(node, inner)
    slot["link"] = len(links) + 1
    links.append(_link(slot["link"], INPUTS, i, node.data["id"], node.data["inputs"].index(slot), slot["type"]))
    return _end(key, "inputs", outer, slot["type"], slot["link"], -BORDER - GAP, i)


def _leave(key: str, links: list[dict], i: int, node: Node, inner: str, outer: str) -> dict:
    data, origin_slot = node[inner]
    number, kind = len(links) + 1, _type(node, inner)
    data["outputs"][origin_slot]["links"].append(number)
    links.append(_link(number, data["id"], origin_slot, OUTPUTS, i, kind))
    return _end(key, "outputs", outer, kind, number, data["pos"][0] + data["size"][0] + GAP, i)


def _end(key: str, side: str, name: str, kind: str, link: int, x: int, i: int) -> dict:
    """One slot of a border."""
    number = str(uuid.uuid5(uuid.UUID(key), f"{side}/{name}"))
    return {"id": number, "name": name, "type": kind, "linkIds": [link], "pos": [x + 100, TOP + 20 * (i + 1)]}


def _border(number: int, x: int, ends: list[dict]) -> dict:
    return {"id": number, "bounding": [x, TOP, BORDER, 40 + 20 * len(ends)]}
