"""What becomes of a node that answers with more nodes ({"expand": {id: entry}})? They run in its place.

They belong to the graph as if they had been in the prompt, except that nobody has checked them: this is done here, and
what is wrong is the fault of the node that made them. Links in its `result` say which of their outputs are its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .calls import Answer
from .graph import Graph, Link, is_link


def grow(graph: Graph, parent: str, answers: Iterable[Answer]) -> list[str]:
    """Add the nodes that `parent` answered with; returns their ids. Raises ValueError."""
    new: list[str] = []
    for answer in answers:
        if answer.expand is not None:
            for node, entry in _checked(graph, parent, answer.expand).items():
                graph.add(node, entry, parent)
                new.append(node)
    for node in new:
        _check_links(graph, parent, node, graph.links(node).values())
    for link in result_links(answers):
        _check_links(graph, parent, "its result", [link])
    return new


def result_links(answers: Iterable[Answer]) -> list[Link]:
    """The links to expanded nodes that stand for outputs of the node that expanded."""
    expanded = (answer.values or () for answer in answers if answer.expand is not None)
    return [value for values in expanded for value in values if is_link(value)]


def _checked(graph: Graph, parent: str, nodes: Any) -> dict[str, dict]:
    where = f"node {parent} expands into"
    if not isinstance(nodes, dict):
        raise ValueError(f"{where} {type(nodes).__name__}: expected nodes by id, as in a prompt")
    for node, entry in nodes.items():
        if not isinstance(node, str) or not isinstance(entry, dict) or not isinstance(entry.get("inputs", {}), dict):
            raise ValueError(f"{where} {node!r:.40}, which is no node: expected an object with class_type and inputs")
        if entry.get("class_type") not in graph.registry.classes:
            raise ValueError(f"{where} node {node} of the unknown class {entry.get('class_type')!r:.80}")
        if graph.has_node(node):
            raise ValueError(f"{where} node {node}, an id that another node has: put its own id before those inside")
    return {node: {"inputs": {}, **entry} for node, entry in nodes.items()}


def _check_links(graph: Graph, parent: str, node: str, links: Iterable[Link]) -> None:
    for source, output in links:
        where = f"node {parent} expands: in {node}, a link leads to"
        if not graph.has_node(source):
            raise ValueError(f"{where} node {source}, which is missing")
        if not 0 <= output < len(graph.declared(source).outputs):
            raise ValueError(f"{where} output {output} of node {source}, which is missing")
