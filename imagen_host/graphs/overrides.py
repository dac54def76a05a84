"""What did the command line change in a workflow: --prompt, --negative, --seed, --set NODE.INPUT=VALUE?

A change goes into the prompt, which runs, and into the graph, which is saved in the pictures; a linked input becomes a
constant.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..declared import InputSpec
from .classes import Classes, NodeClass, of_info
from .file_names import FileNames
from .forms import WorkflowError, shown
from .slots import wire
from .ui_graph import read_link, read_ui
from .widgets import widget_places

TEXT_ENCODERS = ("ImagenTextEncode",)
TEXTS = {"prompt": "text", "negative": "negative_text"}  # of a text encoder, by what the command line calls them
TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


class InputError(WorkflowError):
    """What is wrong with one input or its value; the message does not say who asked for it."""


@dataclass(frozen=True, kw_only=True)
class Override:
    """One input of one node, by id, and its new constant."""

    node: str
    name: str
    value: Any


def plan(
    prompt: dict, classes: Classes, *, sets: Iterable[str] = (), text: str | None = None,
    negative: str | None = None, seed: int | None = None,
) -> list[Override]:  # fmt: skip
    """All changes that the options ask for. Raises WorkflowError for one that has no place to go."""
    changes = []
    for name, value in (("prompt", text), ("negative", negative), ("seed", seed)):
        if value is not None:
            changes += [Override(node=node, name=key, value=value) for node, key in everywhere(name, prompt, classes)]
    return changes + [_parse(item, prompt, classes) for item in sets]


def everywhere(name: str, prompt: dict, classes: Classes) -> list[tuple[str, str]]:
    """The nodes and inputs that --prompt, --negative or --seed sets. Raises WorkflowError when there are none."""
    if name == "seed":
        found = [(node, name) for node in prompt if name in _specs(prompt, node, classes)]
        complaint = "no node of this workflow has an input seed"
    else:
        nodes = [node for node, entry in prompt.items() if entry.get("class_type") in TEXT_ENCODERS]
        found = [(node, TEXTS[name]) for node in nodes]
        complaint = "this workflow reads no prompt"
    if not found:
        raise WorkflowError(f"--{name}: {complaint}: leave the option out")
    return found


def _specs(prompt: dict, node: str, classes: Classes) -> Mapping[str, InputSpec]:
    kind = prompt[node].get("class_type")
    return classes[kind].inputs if kind in classes else {}


def _parse(item: str, prompt: dict, classes: Classes) -> Override:
    """NODE.INPUT=VALUE, where a title may hold dots."""
    target, equals, text = item.partition("=")
    if not equals or not all(target.rpartition(".")):
        raise WorkflowError(f"--set {item!r:.80}: expected NODE.INPUT=VALUE, such as SaveImage.filename_prefix=mine")
    try:
        node, spec = find_input(target, prompt, classes)
        return Override(node=node, name=spec.name, value=value_of(text, spec))
    except InputError as error:
        raise WorkflowError(f"--set {item!r:.80}: {error}") from None


def find_input(target: str, prompt: dict, classes: Classes) -> tuple[str, InputSpec]:
    """The node and the input that NODE.INPUT means. Raises WorkflowError; InputError for a node without that input."""
    name, _, input_name = target.rpartition(".")
    node = find_node(name, prompt, classes)
    specs = _specs(prompt, node, classes)
    if input_name not in specs:
        near = difflib.get_close_matches(input_name, specs, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(specs)}"
        raise InputError(f"node {node} has no input {input_name!r}; {hint}")
    return node, specs[input_name]


def find_node(name: str, prompt: dict, classes: Classes) -> str:
    """The id of the node that `name` means: an id, else a title, else a class. Raises WorkflowError if not just one."""
    if name in prompt:
        return name
    for found in _matches(name, prompt, classes):
        if len(found) == 1:
            return found[0]
        if found:
            raise WorkflowError(
                f"{name!r:.80} could be any of the nodes {', '.join(map(shown, found[:12]))}: use one of these ids"
            )
    known = ", ".join(f"{shown(node)} ({shown(title_of(node, prompt))})" for node in list(prompt)[:12])
    raise WorkflowError(f"no node {name!r:.80}: there are {known}")


def _matches(name: str, prompt: dict, classes: Classes) -> Iterator[list[str]]:
    """Nodes by title, by class, by the class's display name, and by title in any case."""
    kinds = {node: str(entry.get("class_type")) for node, entry in prompt.items()}
    titles = {node: title for node in prompt if (title := title_of(node, prompt)) != kinds[node]}
    yield [node for node, title in titles.items() if title == name]
    yield [node for node, kind in kinds.items() if kind == name]
    yield [node for node, kind in kinds.items() if kind in classes and classes[kind].display_name == name]
    yield [node for node, title in titles.items() if title.lower() == name.lower()]


def title_of(node: str, prompt: dict) -> str:
    """What the user calls a node: its title, or its class."""
    meta = prompt[node].get("_meta")
    return str((meta.get("title") if isinstance(meta, dict) else None) or prompt[node].get("class_type"))


def value_of(text: str, spec: InputSpec) -> Any:
    """A text as the type that the input declares; ranges are for validation to check. Raises InputError."""
    if spec.choices is not None:
        return next((choice for choice in spec.choices if str(choice) == text), text)
    if spec.kind == "STRING":
        return text
    try:
        if spec.kind == "INT":
            return int(text, 0)
        if spec.kind == "FLOAT":
            return float(text)
    except ValueError:
        raise InputError(f"{text!r:.80} is no {spec.kind}: give a number") from None
    if spec.kind != "BOOLEAN":
        raise InputError(f"this input takes a link of type {spec.kind}, not a value")
    if text.lower() not in TRUE + FALSE:
        raise InputError("expected true or false")
    return text.lower() in TRUE


def apply(prompt: dict, changes: Iterable[Override], names: FileNames) -> None:
    """Put the changes into the prompt, and into file names that are made of what changed."""
    changes = list(changes)
    for change in changes:
        prompt[change.node].setdefault("inputs", {})[change.name] = change.value
        names.change(change.node, change.name, change.value)
    if changes:
        names.fill(prompt)


def apply_to_ui(ui: dict, changes: Iterable[Override], object_info: Mapping[str, dict] | Classes) -> dict | None:
    """A copy of the graph with the same changes, or None where a graph cannot hold them: a malformed one, and for what
    lies inside subgraphs and group nodes.
    """
    changes, ui, classes = list(changes), copy.deepcopy(ui), of_info(object_info)
    try:
        top, definitions = read_ui(ui)
        wire(top, definitions, classes)
    except WorkflowError:
        return None
    nodes = {str(node["id"]): node for node in ui["nodes"]}
    for change in changes:
        node = nodes.get(change.node)
        if node is None or node["type"] not in classes or not _set_widget(node, change, classes[node["type"]]):
            return None
        for slot in top.nodes[change.node].inputs:
            if slot.name == change.name and slot.link is not None:
                _cut(ui, slot.link.id)
    return ui


def _set_widget(node: dict, change: Override, cls: NodeClass) -> bool:
    """Whether the node had a place for the value."""
    named, values = node.get("widgets_values_named"), node.get("widgets_values")
    if isinstance(named, dict):
        named[change.name] = change.value
    if isinstance(values, dict):
        values[change.name] = change.value
        return True
    if values is None and isinstance(named, dict):
        return True
    places = {spec.name: index for spec, index in widget_places(cls, values or [])}
    index = places.get(change.name)
    if index is None or not isinstance(values, list) or index >= len(values):
        return False
    values[index] = change.value
    return True


def _cut(ui: dict, number: int) -> None:
    """Remove a link, wherever the graph names it."""
    ui["links"] = [item for item in ui.get("links") or [] if item is None or read_link(item).id != number]
    for node in ui["nodes"]:
        for slot in node.get("inputs") or []:
            if slot.get("link") == number:
                slot["link"] = None
        for slot in node.get("outputs") or []:
            if number in (slot.get("links") or []):
                slot["links"].remove(number)
