"""Which workflow does the user mean, and what is in that file: a saved graph, a prompt, a record of a run that holds
both, or a picture that carries them?
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checks import finite
from ..places import place
from . import carriers, file_names
from .canvas_only import CANVAS_ONLY
from .classes import Classes, of_info
from .file_names import FileNames
from .forms import WorkflowError, shown
from .group_classes import group_name
from .records import both_forms, is_prompt, parse
from .ui_graph import is_ui, read_ui
from .workflow import convert

LARGEST = 256 * 2**20  # bytes


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A prompt ready to validate, the graph it came from, if it was a graph, and what its file names are made of."""

    prompt: dict
    names: FileNames
    ui: dict | None = None


def shipped(pack: Path) -> dict[str, Path]:
    """The workflows that come with the pack, by name."""
    return {path.stem: path for path in sorted((pack / "workflows").glob("*.json"))}


def about(path: Path, known: Collection[str]) -> str:
    """What a list of workflows says of one: its line, that it needs ComfyUI, or why it cannot be read."""
    try:
        mark = "(needs ComfyUI) " if missing_classes(path, known) else ""
        return mark + describe(path)
    except WorkflowError as error:
        return f"cannot be read: {error}"


def describe(path: Path) -> str:
    """One line about a workflow file: its own description, or what is in it. Raises WorkflowError for what is none."""
    ui = _shipped_forms(path)[1]
    extra = (ui or {}).get("extra")
    text = str(extra.get("description") or "").strip() if isinstance(extra, dict) else ""
    if text:
        return shown(text.splitlines()[0])
    return f"{len(ui['nodes'])} nodes" if ui else "a prompt"


def missing_classes(path: Path, known: Collection[str]) -> list[str]:
    """The node classes of a shipped graph that are not among `known`: not empty for one that needs ComfyUI.

    Raises WorkflowError for a file that is malformed.
    """
    prompt, ui = _shipped_forms(path)
    try:
        classes = _classes_of_graph(ui) if ui else _classes_of_prompt(prompt)
    except WorkflowError as error:
        raise WorkflowError(f"{path.name}: {error}") from error
    return sorted(classes - set(known))


def _shipped_forms(path: Path) -> tuple[Any, dict | None]:
    prompt, ui = both_forms(parse(path.read_bytes(), path.name), path.name)
    if ui is None and not is_prompt(prompt):
        raise WorkflowError(
            f"{path.name} holds {_seen(prompt)}: expected nodes and links (editor) or nodes by id (API)"
        )
    return prompt, ui


def _classes_of_graph(ui: dict) -> set[str]:
    top, definitions = read_ui(ui)
    kinds = {node.type for graph in (top, *definitions.values()) for node in graph.nodes.values()}
    return {kind for kind in kinds - CANVAS_ONLY - set(definitions) if group_name(kind) is None}


def _classes_of_prompt(prompt: Any) -> set[str]:
    kinds = [entry.get("class_type") for entry in prompt.values() if isinstance(entry, dict)]
    return {kind for kind in kinds if isinstance(kind, str)}


def refuse_what_needs_comfyui(path: Path, pack: Path, known: Collection[str]) -> None:
    """Raise WorkflowError for a shipped workflow with nodes of ComfyUI's own; others are read and checked as usual."""
    ours = path.resolve().is_relative_to(pack / "workflows")
    missing = missing_classes(path, known) if ours else []
    if missing:
        raise WorkflowError(
            f"{path.stem} needs ComfyUI, whose {', '.join(missing)} this host does not have: clone the pack into its"
            " custom_nodes folder, and open the workflow from its templates"
        )


def find_workflow(name: str, pack: Path) -> Path:
    """The file called `name`: a path, or a workflow that comes with the pack. Raises WorkflowError."""
    candidates = [pack / "workflows" / part for part in (name, f"{name}.json", f"api/{name}.json")]
    with contextlib.suppress(ValueError):  # no such home: a shipped name will still do
        candidates.insert(0, place(name))
    try:
        found = next((path for path in candidates if path.exists() and not path.is_dir()), None)
        is_folder = candidates[0].is_dir()
    except (OSError, ValueError):  # a name that no file can have
        found, is_folder = None, False
    if found is None and is_folder:
        raise WorkflowError(f"{name} is a folder: name a workflow file in it")
    if found is None:
        names = ", ".join(shipped(pack)) or "none"
        raise WorkflowError(
            f"no workflow {name!r:.200}: give a workflow file, a picture that carries one, or one that is shipped: {names}"
        )
    return found


def read_workflow(path: Path, object_info: Mapping[str, dict] | Classes) -> Loaded:
    """Read a workflow file of any form. Raises WorkflowError with what is wrong and what to do.

    A picture, and a record of a run, hold both forms: the prompt is what made it, the graph is kept to be saved in new
    pictures. Where only one of the two is whole, it is taken.
    """
    classes = of_info(object_info)
    try:
        if path.stat().st_size > LARGEST:
            raise WorkflowError(
                f"{path} is larger than any workflow: name a workflow file, or a picture that carries one"
            )
        data = path.read_bytes()
    except OSError as error:
        raise WorkflowError(f"{path} cannot be read: {error.strerror}") from error
    if not data.strip():
        raise WorkflowError(f"{path} is empty: save the workflow again")
    if carriers.is_picture(data):
        return _carried(carriers.texts_of(data, str(path)), path, classes)
    prompt, ui = both_forms(parse(data, str(path)), str(path))
    return _loaded(prompt, ui, path, classes)


def _carried(texts: dict[str, str], path: Path, classes: Classes) -> Loaded:
    """What the texts of a picture say; one that is no JSON counts only when the other does not help."""
    found, errors = {}, []
    for key, text in texts.items():
        try:
            found[key] = parse(text, f"the {key} in {path}") if text.strip("\0 \r\n\t") else None
        except WorkflowError as error:
            errors.append(error)
    prompt, ui = found.get("prompt"), found.get("workflow")
    if not is_prompt(prompt) and not is_ui(ui):
        if errors:
            raise errors[0]
        inside = both_forms(ui, str(path)) if isinstance(ui, dict) else (None, None)
        prompt, ui = prompt if prompt else inside[0], inside[1]
    return _loaded(prompt if is_prompt(prompt) or not is_ui(ui) else None, ui, path, classes)


def _loaded(prompt: Any, ui: Any, path: Path, classes: Classes) -> Loaded:
    ui = ui if is_ui(ui) else None
    if prompt is None and ui is not None:
        try:
            converted = convert(ui, classes)
        except WorkflowError as error:
            raise WorkflowError(f"{path}: {error}") from error
        prompt, names = converted.prompt, converted.names
    else:
        if not is_prompt(prompt):
            raise WorkflowError(f"{path} holds {_seen(prompt)}: expected nodes and links (editor) or nodes by id (API)")
        names = file_names.of_prompt(prompt, classes)
    names.fill(prompt)
    return Loaded(prompt=prompt, names=names, ui=ui)


def _seen(data: Any) -> str:
    """What a file holds that is no workflow, in words."""
    if isinstance(data, dict):
        keys = ", ".join(shown(key) for key in list(data)[:3])
        return f"an object that is no workflow ({f'with {keys}' if keys else 'it is empty'})"
    return {list: "a list that is no workflow", type(None): "no workflow"}.get(
        type(data), "a single value that is no workflow"
    )


def as_json(prompt: dict) -> str:
    """The prompt as text. Raises WorkflowError for a number that JSON does not have."""
    try:
        return json.dumps(prompt, indent=2, allow_nan=False)
    except ValueError:
        pass
    for node, entry in prompt.items():
        inputs = entry.get("inputs") if isinstance(entry, dict) else None
        for name, value in inputs.items() if isinstance(inputs, dict) else ():
            if not finite(value):
                raise WorkflowError(
                    f"node {shown(node)}, input {shown(name)}: a value is not a finite number: set another"
                )
    raise WorkflowError("a value in this prompt is not a finite number: set another")
