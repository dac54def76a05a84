"""Which ids do the nodes inside subgraphs and group nodes get? Each its own, as the newest editor numbers them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .ui_graph import Graph, Node

LONGEST = 15  # digits of an id that counts as a number


def last_id(ui: dict) -> int:
    """The highest id that the editor says it has given away; what is no number is for nobody."""
    state = ui.get("state")
    told = [ui.get("last_node_id"), state.get("lastNodeId") if isinstance(state, dict) else None]
    return max((value for value in told if type(value) is int), default=0)


def renumber(top: Graph, definitions: dict[str, Graph], last: int) -> None:
    """Give each node inside a subgraph an id of its own, as the editor does where one is taken already."""
    taken = set(top.nodes)
    for key, graph in definitions.items():
        new: dict[str, str] = {}
        for name in graph.nodes:
            if name in taken:
                last = next_free(last, taken)
                new[name] = str(last)
            elif name.isdecimal() and len(name) <= LONGEST:
                last = max(last, int(name))
            taken.add(new.get(name, name))
        if new:
            _rename(graph, new)
            for other in (top, *definitions.values()):
                for host in other.nodes.values():
                    if host.type == key:
                        _rename_proxies(host, new)


def next_free(last: int, taken: set[str]) -> int:
    last += 1
    while str(last) in taken:
        last += 1
    return last


def _rename(graph: Graph, new: dict[str, str]) -> None:
    for node in graph.nodes.values():
        node.id = new.get(node.id, node.id)
    graph.nodes = {node.id: node for node in graph.nodes.values()}
    for key, link in graph.links.items():
        origin, target = new.get(link.origin, link.origin), new.get(link.target, link.target)
        graph.links[key] = replace(link, origin=origin, target=target)


def _rename_proxies(host: Node, new: dict[str, str]) -> None:
    proxies = host.properties.get("proxyWidgets")
    if isinstance(proxies, list):
        renamed = [
            [new.get(item[0], item[0]), *item[1:]]
            if isinstance(item, list) and item and isinstance(item[0], str)
            else item
            for item in proxies
        ]
        host.properties = {**host.properties, "proxyWidgets": renamed}


def highest_id(graphs: Iterable[Graph], last: int = 0) -> int:
    ids = [int(name) for graph in graphs for name in graph.nodes if name.isdecimal() and len(name) <= LONGEST]
    return max([last, *ids])
