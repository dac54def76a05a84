"""When may a node's earlier result be used again? When nothing that led to it changed.

A node's key covers its class, its IS_CHANGED value, its constants and the keys of everything it depends on; its id only
when the node reads it or calls itself NOT_IDEMPOTENT.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

_never = itertools.count()  # for nodes that must always run


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a node gave: one list per output, and what its output node shows."""

    outputs: list[list[Any]]
    ui: dict[str, list] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Maker:
    """The node of the prompt that an entry comes from; `kind` is its class when the entry is of a node inside it."""

    node: str
    kind: str | None = None


class Cache:
    """Results by key and node instances by (id, class), from the last prompt and the one in progress."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.makers: dict[str, Maker] = {}
        self.instances: dict[tuple[str, str], Any] = {}

    def put(self, key: str, maker: Maker, entry: Entry) -> None:
        self.entries[key], self.makers[key] = entry, maker

    def keep_only(self, keys: Mapping[str, str], prompt: Mapping[str, dict]) -> None:
        """Drop what a new prompt does not mention; `keys` are those of the nodes that run this time.

        Results of its other nodes stay: only a part of the prompt may be wanted now, and the rest again later. So do
        those of nodes that one of its nodes expanded into, for it may do so again.
        """
        mentioned, others = set(keys.values()), prompt.keys() - keys.keys()

        def wanted(key: str, maker: Maker) -> bool:
            if maker.kind is not None and maker.node in prompt:
                return prompt[maker.node]["class_type"] == maker.kind
            return key in mentioned or maker.node in others

        self._keep({key for key, maker in self.makers.items() if wanted(key, maker)})
        instances = {(node, entry["class_type"]) for node, entry in prompt.items()}
        self.instances = {name: node for name, node in self.instances.items() if name in instances}

    def forget_inner(self, expanded: Collection[str], keys: Collection[str]) -> None:
        """Drop what nodes inside the nodes `expanded` gave at an earlier time: they have expanded anew, into `keys`."""
        gone = {key for key, maker in self.makers.items() if maker.kind is not None and maker.node in expanded}
        if gone:
            self._keep(self.makers.keys() - (gone - set(keys)))

    def drop(self, key: str) -> None:
        self.entries.pop(key, None)
        self.makers.pop(key, None)

    def drop_shown(self) -> None:
        """Drop the results of nodes that show something, such as files."""
        for key in [key for key, entry in self.entries.items() if entry.ui]:
            self.drop(key)

    def _keep(self, kept: Collection[str]) -> None:
        self.entries = {key: entry for key, entry in self.entries.items() if key in kept}
        self.makers = {key: maker for key, maker in self.makers.items() if key in self.entries}

    def instance(self, node: str, kind: str, cls: type) -> Any:
        if not isinstance(self.instances.get((node, kind)), cls):
            self.instances[node, kind] = cls()
        return self.instances[node, kind]


class Uses:
    """Which results does nothing read any more? Each node holds its own result and those that it may read."""

    def __init__(self) -> None:
        self.held: dict[str, list[str]] = {}
        self.count: Counter[str] = Counter()

    def hold(self, node: str, keys: Iterable[str]) -> None:
        keys = list(keys)
        self.held.setdefault(node, []).extend(keys)
        self.count.update(keys)

    def free(self, node: str) -> Iterator[str]:
        """The keys that nobody holds once this node is done."""
        for key in self.held.pop(node, ()):
            self.count[key] -= 1
            if not self.count[key]:
                del self.count[key]
                yield key


def key_of(kind: str, node: str | None, changed: Any, inputs: Mapping[str, Any]) -> str:
    """The key of a node: `node` is its id if that counts, `inputs` are constants and the keys of what is linked."""
    try:
        text = json.dumps([kind, node, changed, inputs], sort_keys=True, default=_as_json)
    except (TypeError, ValueError, RecursionError):  # keys that cannot be sorted, a ring, a deep nest
        text = never()
    return hashlib.sha256(text.encode()).hexdigest()


def never() -> str:
    """A value that equals no other."""
    return f"never {next(_never)}"


def _as_json(value: Any) -> str:
    """Small values by what they say; any other object is equal to none, for who knows what is in it."""
    return repr(value) if isinstance(value, (bytes, PurePath, complex)) else never()


def stamp(node: str, answers: Iterable[Any] | Exception) -> Any:
    """What IS_CHANGED answered, as a part of the key; NaN and an exception mean: never use the cache."""
    if isinstance(answers, Exception):
        logging.getLogger(__name__).warning("IS_CHANGED of node %s failed, so it runs again: %s", node, answers)
        return never()
    return [never() if isinstance(answer, float) and answer != answer else answer for answer in answers]
