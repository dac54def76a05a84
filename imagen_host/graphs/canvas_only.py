"""Which nodes exist on the canvas only, and what do they do to the graph? They are drawn by JavaScript, here or in a
pack, and no server has a class for them.

Others' packs are known by the names that their nodes have in saved graphs (rgthree-comfy, KJNodes, easy-use, mtb,
Custom-Scripts, Jovimetrix). What is unknown, linked to nothing and not marked as a class's is decoration, too.
"""

from __future__ import annotations

import json
from collections.abc import Container
from typing import Any

from .ui_graph import Graph, Node

REROUTES = {"Reroute", "Reroute (rgthree)", "ReroutePrimitive|pysssss"}
PRIMITIVE = "PrimitiveNode"
NOTES = {"Note", "MarkdownNote"}
SETTERS = {"SetNode", "easy setNode", "SET (JOV) 🟰"}
GETTERS = {"GetNode": "SetNode", "easy getNode": "easy setNode", "GET (JOV) 🟰": "SET (JOV) 🟰"}
HANDLES = {
    "Mute / Bypass Relay (rgthree)", "Mute / Bypass Repeater (rgthree)", "Fast Muter (rgthree)",
    "Fast Bypasser (rgthree)", "Fast Node Muter (rgthree)", "Fast Groups Muter (rgthree)",
    "Fast Groups Bypasser (rgthree)", "Fast Actions Button (rgthree)", "Node Collector (rgthree)",
    "Random Unmuter (rgthree)", "Power Conductor (rgthree)", "Label (rgthree)", "Bookmark (rgthree)",
    "Note+ (mtb)", "Note Plus (mtb)",
}  # fmt: skip
CANVAS_ONLY = REROUTES | NOTES | SETTERS | set(GETTERS) | HANDLES | {PRIMITIVE}
OF_A_CLASS = "Node name for S&R"  # a property that the editor gives to every node that a server has a class for


def passes_through(node: Node) -> bool:
    """Whether the node's output is its first input."""
    return node.type in REROUTES or node.type in SETTERS


def channel(node: Node) -> Any:
    """The name by which a pair of Set and Get nodes find each other."""
    return node.values[0] if isinstance(node.values, list) and node.values else None


def channel_key(kind: str, name: Any) -> tuple[str, Any]:
    """What the Set nodes of a graph are looked up by; a file may hold a list or an object for a name."""
    return kind, name if isinstance(name, (str, int, float)) else json.dumps([name], sort_keys=True)


def setters(graph: Graph) -> dict[tuple[str, Any], Node]:
    """The graph's Set nodes by type and channel, of two the first."""
    found: dict[tuple[str, Any], Node] = {}
    for node in graph.nodes.values():
        if node.type in SETTERS and channel(node) is not None:
            found.setdefault(channel_key(node.type, channel(node)), node)
    return found


def is_decoration(node: Node, sources: Container[str]) -> bool:
    """Whether a node of an unknown type can be left out: nothing is linked to it, and no class ever stood behind it.

    sources: the ids of the nodes that its graph's links come from.
    """
    linked = node.id in sources or any(slot.link for slot in node.inputs)
    return not linked and OF_A_CLASS not in node.properties
