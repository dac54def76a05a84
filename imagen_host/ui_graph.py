"""What is in a graph that the editor saved: nodes by id and links by id, in format 0.4, 1 or inside a subgraph."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SAVE_AGAIN = "save the graph from the editor again"


class WorkflowError(ValueError):
    """The workflow itself is wrong; the message says where and what to do."""


@dataclass(frozen=True)
class Link:
    origin: str
    slot: int
    target: str
    target_slot: int
    kind: Any


@dataclass(kw_only=True)
class Graph:
    """The top graph, or one instance of a subgraph seen from inside: then `prefix`, `instance`, `parent` are set."""

    nodes: dict[str, dict]
    links: dict[int, Link]
    definition: dict = field(default_factory=dict)
    prefix: str = ""
    instance: dict | None = None
    parent: Graph | None = None


def is_ui(data: Any) -> bool:
    """Whether parsed JSON has the form that the editor saves."""
    return isinstance(data, dict) and isinstance(data.get("nodes"), list)


def subgraphs_of(ui: dict) -> dict[str, dict]:
    """Definitions of subgraphs by id, which is the type of their instances."""
    definitions = ui.get("definitions")
    subgraphs = definitions.get("subgraphs") if isinstance(definitions, dict) else None
    return {
        str(item["id"]): item
        for item in as_list(subgraphs, "definitions.subgraphs")
        if isinstance(item, dict) and "id" in item
    }


def read_graph(data: dict) -> Graph:
    """Nodes by id and links by id of a graph or a subgraph definition, checked for their form."""
    nodes: dict[str, dict] = {}
    for node in as_list(data.get("nodes"), "nodes"):
        if not isinstance(node, dict) or "id" not in node or not isinstance(node.get("type"), str):
            raise WorkflowError(f"a node without id or type ({str(node)[:60]}): {SAVE_AGAIN}")
        if str(node["id"]) in nodes:
            raise WorkflowError(f"two nodes have the id {node['id']}: give each its own")
        slots = [slot for slot in as_list(node.get("inputs"), f"inputs of node {node['id']}") if isinstance(slot, dict)]
        if any(isinstance(slot.get("link"), (list, dict)) for slot in slots):
            raise WorkflowError(f"node {node['id']} has an input whose link is not a number: {SAVE_AGAIN}")
        nodes[str(node["id"])] = {**node, "inputs": slots}
    links = [read_link(item) for item in as_list(data.get("links"), "links") if item is not None]
    return Graph(nodes=nodes, links=dict(links), definition=data)


def read_link(item: Any) -> tuple[int, Link]:
    """A link in either form: [id, origin, slot, target, slot, type] or an object with those names."""
    try:
        if isinstance(item, dict):
            names = ("id", "origin_id", "origin_slot", "target_id", "target_slot")
            item = [*(item[name] for name in names), item.get("type")]
        number, origin, slot, target, target_slot, kind = (*item[:5], item[5] if len(item) > 5 else None)
        kind = kind if isinstance(kind, (str, int)) else None
        return number, Link(str(origin), int(slot), str(target), int(target_slot), kind)
    except (KeyError, IndexError, TypeError, ValueError):
        raise WorkflowError(f"a malformed link ({str(item)[:60]}): {SAVE_AGAIN}") from None


def as_list(value: Any, name: str) -> list:
    if value is None:
        return []
    if not isinstance(value, list):
        raise WorkflowError(f"{name} should be a list, not {type(value).__name__}: {SAVE_AGAIN}")
    return value
