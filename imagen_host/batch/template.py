"""Which workflow do all jobs change? Read with the classes of this host, or of the servers that will run it."""

from __future__ import annotations

import argparse
import functools
import hashlib
from pathlib import Path

from .. import runtime, terminal
from ..graphs import overrides
from ..graphs.classes import Classes, of_info
from ..graphs.reading import Loaded, find_workflow, read_workflow, refuse_what_needs_comfyui
from ..registry import load_registry, pack_folder
from ..validation import validate
from .plan import Plan
from .workers import servers


def plan_of(options: argparse.Namespace) -> Plan:
    """The workflow with the changes that hold for all rows. Raises ValueError."""
    path = find_workflow(options.workflow, pack_folder())
    if options.server:
        classes = of_info(servers.object_info(options.server))
    else:
        registry = load_registry().snapshot()
        refuse_what_needs_comfyui(path, pack_folder(), registry.classes)
        classes = registry.node_classes()
    loaded = read_workflow(path, classes)
    _refuse_unknown(loaded.prompt, classes, path.name)
    changes = overrides.plan(loaded.prompt, classes, sets=options.set)
    overrides.apply(loaded.prompt, changes, loaded.names)
    graph = overrides.apply_to_ui(loaded.ui, changes, classes) if loaded.ui else None
    whole = Loaded(prompt=loaded.prompt, names=loaded.names, ui=graph)
    return Plan(whole, classes, (lambda name: None) if options.server else functools.cache(_digest))


def _refuse_unknown(prompt: dict, classes: Classes, name: str) -> None:
    for node, entry in prompt.items():
        kind = entry.get("class_type") if isinstance(entry, dict) else None
        if kind not in classes or not isinstance(entry.setdefault("inputs", {}), dict):
            raise ValueError(f"{name}: node {node!r:.40} is of the class {kind!r:.80}, which nobody here has")


def _digest(name: str) -> str | None:
    """The hash of an input picture."""
    try:
        return hashlib.sha256(Path(runtime.get_annotated_filepath(name)).read_bytes()).hexdigest()
    except (OSError, ValueError):
        return None


def check(prompt: dict, name: str) -> None:
    """Whether a job of this workflow can run at all on this host. Raises ValueError."""
    checked = validate(prompt, load_registry())
    if checked.error is not None or checked.node_errors:
        raise ValueError("\n".join(f"{name}: {line}" for line in terminal.explain(checked, prompt)))
