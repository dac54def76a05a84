"""Which workflow does the user mean, and what is in that file: a saved graph, a prompt, or a PNG that carries one?"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .ui_graph import WorkflowError, is_ui
from .workflow import VIRTUAL, workflow_to_prompt

PNG_MAGIC = b"\x89PNG"
DEEPEST = 100  # of lists and objects inside each other; the editor stays under 20
LARGEST = 256 * 2**20  # bytes


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A prompt ready to validate, and the graph it came from, if it was a graph."""

    prompt: dict
    ui: dict | None = None


def shipped(pack: Path) -> dict[str, Path]:
    """The workflows that come with the pack, by name."""
    return {path.stem: path for path in sorted((pack / "workflows").glob("*.json"))}


def describe(path: Path) -> str:
    """One line about a workflow file: its own description, or what is in it."""
    data = parse(path.read_bytes(), path.name)
    extra = data.get("extra") if isinstance(data, dict) else None
    text = extra.get("description") if isinstance(extra, dict) else None
    if text:
        return str(text).strip().splitlines()[0]
    return f"{len(data['nodes'])} nodes" if is_ui(data) else "a prompt"


def missing_classes(path: Path, known: Collection[str]) -> list[str]:
    """The node classes of a shipped graph that are not among `known`: not empty for one that needs ComfyUI."""
    graph = parse(path.read_bytes(), path.name)
    if not is_ui(graph):
        classes = {node["class_type"] for node in graph.values()}
    else:
        inner = {item["id"]: item["nodes"] for item in graph.get("definitions", {}).get("subgraphs", [])}
        nodes = [node for nodes in (graph["nodes"], *inner.values()) for node in nodes]
        classes = {node["type"] for node in nodes} - {*VIRTUAL, *inner}
    return sorted(classes - set(known))


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
    path = Path(name).expanduser()
    places = [path, *(pack / "workflows" / part for part in (name, f"{name}.json", f"api/{name}.json"))]
    try:
        found = next((place for place in places if place.exists() and not place.is_dir()), None)
        is_folder = path.is_dir()
    except (OSError, ValueError):  # a name that no file can have
        found, is_folder = None, False
    if found is None and is_folder:
        raise WorkflowError(f"{name} is a folder: name a workflow file in it")
    if found is None:
        names = ", ".join(shipped(pack)) or "none"
        raise WorkflowError(f"no workflow {name!r:.200}: give a file (.json or .png), or one that is shipped: {names}")
    return found


def read_workflow(path: Path, object_info: Mapping[str, dict]) -> Loaded:
    """Read a workflow file of any form. Raises WorkflowError with what is wrong and what to do.

    A PNG holds both forms: the prompt is what made it, the graph is kept to be saved in new pictures.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise WorkflowError(f"{path} is larger than any workflow: name a .json or .png file")
        data = path.read_bytes()
    except OSError as error:
        raise WorkflowError(f"{path} cannot be read: {error.strerror}") from error
    if not data.strip():
        raise WorkflowError(f"{path} is empty: save the workflow again")
    if data.startswith(PNG_MAGIC):
        texts = _png_texts(path)
        ui = parse(texts["workflow"], f"the workflow in {path}") if "workflow" in texts else None
        if "prompt" not in texts:
            return _loaded(ui, path, object_info)
        loaded = _loaded(parse(texts["prompt"], f"the prompt in {path}"), path, object_info)
        return Loaded(prompt=loaded.prompt, ui=ui if is_ui(ui) else None)
    return _loaded(parse(data, str(path)), path, object_info)


def _loaded(data: Any, path: Path, object_info: Mapping[str, dict]) -> Loaded:
    if is_ui(data):
        try:
            return Loaded(prompt=workflow_to_prompt(data, object_info), ui=data)
        except WorkflowError as error:
            raise WorkflowError(f"{path}: {error}") from error
    if isinstance(data, dict) and is_prompt(data.get("prompt")):  # the body of a request to a server
        data = data["prompt"]
    if not is_prompt(data):
        kind = {list: "a list", dict: "an object"}.get(type(data), "a single value")
        raise WorkflowError(
            f"{path} holds {kind} that is no workflow: expected nodes and links (editor) or nodes by id (API)"
        )
    return Loaded(prompt=data)


def is_prompt(data: Any) -> bool:
    """Whether parsed JSON looks like an API prompt; what is wrong with a single node is for validation to say."""
    return isinstance(data, dict) and any(isinstance(item, dict) and "class_type" in item for item in data.values())


def _png_texts(path: Path) -> dict[str, str]:
    from PIL import Image

    try:
        with Image.open(path, formats=["PNG"]) as picture:
            picture.load()
            texts = {key: text for key, text in picture.text.items() if key in ("prompt", "workflow")}
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise WorkflowError(f"{path} is a damaged PNG ({error}): use another copy of it") from error
    if not texts:
        raise WorkflowError(f"{path} carries no workflow: use a PNG that Save Image wrote and nothing re-saved since")
    return texts


def parse(data: bytes | str, name: str) -> Any:
    """Parse JSON, refusing what no editor writes: keys given twice and absurd nesting. NaN is left to validation."""
    try:
        text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
        parsed = json.loads(text, object_pairs_hook=_unique)
        shallow = _is_shallow(parsed)
    except _Twice as error:
        raise WorkflowError(f"{name}: the key {error.args[0]!r} appears twice in one object: keep one") from None
    except UnicodeDecodeError:
        raise WorkflowError(f"{name} is not text: a workflow is a JSON file, or a PNG that carries one") from None
    except RecursionError:
        shallow = False
    except ValueError as error:
        raise WorkflowError(f"{name} is not JSON ({error}): save the workflow again") from None
    if not shallow:
        raise WorkflowError(f"{name} is nested more than {DEEPEST} levels deep: that is no workflow")
    return parsed


class _Twice(Exception):
    """A key that an object holds twice."""


def _unique(pairs: list[tuple[str, Any]]) -> dict:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise _Twice(key)
        result[key] = value
    return result


def _is_shallow(data: Any) -> bool:
    level = [data]
    for _ in range(DEEPEST):
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item if isinstance(item, list) else ())
        ]
        if not level:
            return True
    return False
