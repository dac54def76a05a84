"""When may a node's earlier result be used again? When nothing that led to it changed.

A node's key covers its class, its IS_CHANGED value, its constants and the keys of everything it depends on; its id only
when the node reads it or calls itself NOT_IDEMPOTENT.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .registry import Registry
from .validation import ancestors, input_specs, is_link, sources

_never = itertools.count()  # for nodes that must always run


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a node gave: one list per output, and what its output node shows."""

    outputs: list[list[Any]]
    ui: dict[str, list] = field(default_factory=dict)


class Cache:
    """Results by key and node instances by (id, class), from the last prompt and the one in progress."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.makers: dict[str, str] = {}  # the node that made an entry
        self.instances: dict[tuple[str, str], Any] = {}

    def put(self, key: str, node: str, entry: Entry) -> None:
        self.entries[key], self.makers[key] = entry, node

    def keep_only(self, keys: Mapping[str, str], prompt: Mapping[str, dict]) -> None:
        """Drop what a new prompt does not mention; `keys` are those of the nodes that run this time.

        Results of its other nodes stay: only a part of the prompt may be wanted now, and the rest again later.
        """
        others = prompt.keys() - keys.keys()
        mentioned = set(keys.values()).union(key for key, node in self.makers.items() if node in others)
        self.entries = {key: entry for key, entry in self.entries.items() if key in mentioned}
        self.makers = {key: node for key, node in self.makers.items() if key in self.entries}
        instances = {(node, entry["class_type"]) for node, entry in prompt.items()}
        self.instances = {name: node for name, node in self.instances.items() if name in instances}

    def instance(self, node: str, kind: str, cls: type) -> Any:
        if not isinstance(self.instances.get((node, kind)), cls):
            self.instances[node, kind] = cls()
        return self.instances[node, kind]


def keys_of(prompt: dict, registry: Registry, outputs: Iterable[str]) -> dict[str, str]:
    """The key of each node that the outputs depend on. The prompt must be free of cycles."""
    needed = set().union(*(ancestors(output, prompt) for output in outputs))
    keys: dict[str, str] = {}
    waiting = [node for node in prompt if node in needed]
    while waiting:  # depth first without recursion: a graph may be a long chain
        node = waiting[-1]
        missing = [source for source in sources(prompt[node], prompt) if source not in keys]
        if node in keys or not missing:
            waiting.pop()
            if node not in keys:
                keys[node] = _key(node, prompt, registry, keys)
        else:
            waiting += missing
    return keys


def _key(node: str, prompt: dict, registry: Registry, keys: dict[str, str]) -> str:
    entry = prompt[node]
    cls = registry.classes[entry["class_type"]]
    declared = cls.INPUT_TYPES()
    named = {name for name, _, _ in input_specs(declared)}
    own_id = getattr(cls, "NOT_IDEMPOTENT", False) or "UNIQUE_ID" in declared.get("hidden", {}).values()
    inputs = {
        name: ["link", keys[value[0]], value[1]] if is_link(value) else ["constant", value]
        for name, value in entry["inputs"].items()
        if name in named
    }
    parts = [entry["class_type"], node if own_id else None, _is_changed(node, cls, entry, named), inputs]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=repr).encode()).hexdigest()


def _is_changed(node: str, cls: type, entry: dict, named: set[str]) -> Any:
    """The class's IS_CHANGED for these constants (None for links); NaN or an exception means: never use the cache."""
    if not hasattr(cls, "IS_CHANGED"):
        return None
    given = {name: None if is_link(value) else value for name, value in entry["inputs"].items() if name in named}
    if getattr(cls, "INPUT_IS_LIST", False):
        given = {name: [value] for name, value in given.items()}
    try:
        value = cls.IS_CHANGED(**given)
    except Exception as error:
        logging.getLogger(__name__).warning("IS_CHANGED of node %s failed, so it runs again: %s", node, error)
        value = float("nan")
    return f"never {next(_never)}" if isinstance(value, float) and value != value else ["is_changed", value]
