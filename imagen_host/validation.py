"""Can this prompt run, and if not, which input of which node is wrong?

Only what an output node needs is checked. Constants are cast in place to the type their input declares.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from .checks import NodeCheck, problem
from .checks import finite as finite
from .execution.awaiting import Awaiter
from .execution.graph import Graph, ancestors, one_ring, rings
from .graphs.forms import shown
from .registry import Registry

MOST_LISTED = 20  # nodes of a ring, and outputs that an error of one node names


@dataclass(kw_only=True)
class Validation:
    """`outputs` can run; `error` is set when nothing can; `node_errors` holds the errors of each node by id."""

    outputs: list[str] = field(default_factory=list)
    error: dict | None = None
    node_errors: dict[str, dict] = field(default_factory=dict)


def validate(prompt: Any, registry: Registry, targets: Collection[str] | None = None) -> Validation:
    """Check what the output nodes (those in `targets` if given) need. Casts constants in `prompt` in place."""
    error = form_error(prompt, registry)
    if error is not None:
        return Validation(error=error)
    graph = Graph(prompt, registry)
    wanted = None if targets is None else set(targets)
    outputs = [node for node in prompt if graph.declared(node).is_output and (wanted is None or node in wanted)]
    if not outputs:
        hint = "add a node that keeps its result, such as SaveImage, and do not mute it"
        return Validation(error=problem("prompt_no_outputs", "nothing in this workflow has an output", hint))
    needed = ancestors(graph, outputs)
    failed = _failures(graph, [node for node in prompt if node in needed])
    if not failed:
        return Validation(outputs=outputs)
    dependents = _dependent_outputs(graph, outputs)
    node_errors = {
        node: {
            "errors": errors,
            "dependent_outputs": dependents[node],
            "class_type": prompt[node]["class_type"],
        }
        for node, errors in failed.items()
    }
    spoiled = _spoiled(graph, needed, failed)
    good = [output for output in outputs if output not in spoiled]
    if good:
        return Validation(outputs=good, node_errors=node_errors)
    error = problem("prompt_outputs_failed_validation", "no output of this workflow can be made")
    return Validation(error=error, node_errors=node_errors)


def _failures(graph: Graph, nodes: Collection[str]) -> dict[str, list[dict]]:
    """The errors of each node that has any."""
    with Awaiter() as awaiter:
        failed = {node: NodeCheck(node, graph, awaiter).errors() for node in nodes}
    for group in rings(graph, nodes):
        ring = one_ring(graph, group)
        way = " -> ".join(ring if len(ring) <= MOST_LISTED else [*ring[:MOST_LISTED], "...", ring[-1]])
        error = problem("dependency_cycle", "its input depends on its own output", way)
        for node in group:
            failed[node].insert(0, error)
    return {node: errors for node, errors in failed.items() if errors}


def _spoiled(graph: Graph, nodes: Iterable[str], failed: Iterable[str]) -> set[str]:
    """The failed nodes and all that depend on them."""
    readers: dict[str, list[str]] = {}
    for node in nodes:
        for source in graph.sources(node):
            readers.setdefault(source, []).append(node)
    found, waiting = set(), list(failed)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += readers.get(node, ())
    return found


def _dependent_outputs(graph: Graph, outputs: Iterable[str]) -> dict[str, list[str]]:
    """For each node the first MOST_LISTED outputs that need it.

    What a node with a full list depends on has full lists too, so that no link is followed more often than that.
    """
    found: dict[str, list[str]] = {}
    for output in outputs:
        waiting = [output]
        while waiting:
            node = waiting.pop()
            listed = found.setdefault(node, [])
            if len(listed) < MOST_LISTED and listed[-1:] != [output]:
                listed.append(output)
                waiting += graph.sources(node)
    return found


def form_error(prompt: Any, registry: Registry) -> dict | None:
    """What is wrong with the prompt as a whole: its form, or a class that is not there."""
    if not isinstance(prompt, dict) or not prompt:
        return problem("no_prompt", "there is no prompt", "expected an object of nodes by id")
    for node, entry in prompt.items():
        where = f"Node ID '#{node}'"
        if not isinstance(entry, dict):
            return problem("invalid_prompt", f"node {shown(node)} has no class_type: it is not an object", where)
        if not isinstance(entry.setdefault("inputs", {}), dict):
            return problem("invalid_prompt", f"the inputs of node {shown(node)} are not an object", where)
        if not isinstance(entry.get("class_type"), str) or entry["class_type"] not in registry.classes:
            return _missing_class(node, entry, registry)
    return None


def _missing_class(node: str, entry: dict, registry: Registry) -> dict:
    kind, meta = entry.get("class_type"), entry.get("_meta")
    about = {"node_id": node, "class_type": kind if isinstance(kind, str) else None}
    about["node_title"] = meta.get("title", kind) if isinstance(meta, dict) else kind
    where = f"Node ID '#{node}'"
    if not isinstance(kind, str):
        return problem("missing_node_type", f"node {shown(node)} has no class_type", where, **about)
    near = difflib.get_close_matches(kind, registry.classes, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    message = f"node {shown(node)} is of the unknown class {kind!r:.80}{hint} (ComfyUI or another pack may have it)"
    return problem("missing_node_type", message, where, **about)
