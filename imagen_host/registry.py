"""Which node classes are there, and how are they described to an editor (object_info)?

The pack is loaded from its folder under a path-like module name, exactly as ComfyUI does, so that what works here
works there: only relative imports inside the pack.
"""

from __future__ import annotations

import importlib.util
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from . import core_nodes, runtime
from .declared import Declared
from .graphs.classes import Classes, of_registry
from .places import place


@dataclass(frozen=True, kw_only=True)
class Registry:
    """Node classes by id, with what an editor shows for each."""

    classes: Mapping[str, type]
    display_names: Mapping[str, str] = field(default_factory=dict)
    modules: Mapping[str, str] = field(default_factory=dict)  # class id -> the name ComfyUI would report
    web_directories: Mapping[str, Path] = field(default_factory=dict)  # pack name -> folder of its JavaScript
    read: dict[str, Declared] | None = None  # what a snapshot has read so far

    def snapshot(self) -> Registry:
        """The same classes, where INPUT_TYPES, which may search folders, is read once a class: for one run."""
        return self if self.read is not None else replace(self, read={})

    def declared(self, name: str) -> Declared:
        """What a class says of itself, as of now, or as a snapshot has read it. Raises KeyError for an unknown class."""
        if self.read is None:
            return Declared(self.classes[name])
        if name not in self.read:
            self.read[name] = Declared(self.classes[name])
        return self.read[name]

    @cached_property
    def output_types(self) -> set[str]:
        """The types that outputs of any class have."""
        kinds = (kind for cls in self.classes.values() for kind in getattr(cls, "RETURN_TYPES", ()))
        return {part.strip() for kind in kinds if isinstance(kind, str) for part in kind.split(",")}

    def node_classes(self) -> Classes:
        """The classes as graphs know them; each is read when a node of it is first met."""
        return of_registry(self.classes, self.display_names, self.declared)

    def object_info(self) -> dict[str, dict]:
        """Every class described as ComfyUI's /object_info does."""
        return {name: self.describe(name) for name in self.classes}

    def describe(self, name: str) -> dict:
        """One class described as /object_info/<name> does. Raises KeyError for a class that is not there."""
        node = self.classes[name]
        inputs = self.declared(name).input_types
        outputs = list(getattr(node, "RETURN_TYPES", ()))
        info = {
            "input": jsonable(inputs),
            "input_order": {section: list(names) for section, names in inputs.items()},
            "is_input_list": bool(getattr(node, "INPUT_IS_LIST", False)),
            "output": jsonable(outputs),
            "output_is_list": list(getattr(node, "OUTPUT_IS_LIST", [False] * len(outputs))),
            "output_name": [str(label) for label in getattr(node, "RETURN_NAMES", None) or outputs],
            "name": name,
            "display_name": self.display_names.get(name, name),
            "description": getattr(node, "DESCRIPTION", ""),
            "python_module": self.modules.get(name, "nodes"),
            "category": getattr(node, "CATEGORY", "sd"),
            "output_node": bool(getattr(node, "OUTPUT_NODE", False)),
            "has_intermediate_output": bool(getattr(node, "HAS_INTERMEDIATE_OUTPUT", False)),
            "search_aliases": list(getattr(node, "SEARCH_ALIASES", [])),
        }
        if hasattr(node, "OUTPUT_TOOLTIPS"):
            info["output_tooltips"] = list(node.OUTPUT_TOOLTIPS)
        flags = {"deprecated": "DEPRECATED", "experimental": "EXPERIMENTAL", "dev_only": "DEV_ONLY"}
        info |= {key: True for key, attribute in flags.items() if getattr(node, attribute, False)}
        as_they_are = {"api_node": "API_NODE", "essentials_category": "ESSENTIALS_CATEGORY"}
        return info | {
            key: getattr(node, attribute) for key, attribute in as_they_are.items() if hasattr(node, attribute)
        }


def jsonable(value: Any) -> Any:
    """Tuples as lists, type names as plain strings, no infinite limits: what a trip through JSON leaves unchanged."""
    if isinstance(value, Mapping):
        infinite = {key for key, item in value.items() if isinstance(item, float) and not math.isfinite(item)}
        return {str(key): jsonable(item) for key, item in value.items() if key not in infinite}
    if isinstance(value, (list, tuple, set)):
        return [jsonable(item) for item in value]
    return str(value) if isinstance(value, str) else value


def pack_folder() -> Path:
    """The pack to load: the variable IMAGEN_PACK, or the folder this host lies in."""
    return place(os.environ.get("IMAGEN_PACK") or runtime.PACK_ROOT).resolve()


def load_pack(folder: Path) -> ModuleType:
    """The pack's module, loaded once per folder. Raises ValueError when the folder holds no pack."""
    name = str(folder).replace(".", "_x_")
    if name in sys.modules:
        return sys.modules[name]
    start = folder / "__init__.py"
    if not start.is_file() or not (folder.is_dir() and "NODE_CLASS_MAPPINGS" in start.read_text(encoding="utf-8")):
        raise ValueError(
            f"no node pack in {folder}: clone the repository and install it from there with 'pip install -e .'"
        )
    spec = importlib.util.spec_from_file_location(name, start, submodule_search_locations=[str(folder)])
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def load_registry(pack: Path | None = None) -> Registry:
    """The core nodes and those of the pack in folder `pack` (default: `pack_folder()`)."""
    folder = Path(pack).resolve() if pack else pack_folder()
    module = load_pack(folder)
    classes = dict(module.NODE_CLASS_MAPPINGS)
    web = getattr(module, "WEB_DIRECTORY", None)
    return Registry(
        classes={**core_nodes.NODE_CLASS_MAPPINGS, **classes},
        display_names={
            **core_nodes.NODE_DISPLAY_NAME_MAPPINGS,
            **getattr(module, "NODE_DISPLAY_NAME_MAPPINGS", {}),
        },
        modules={name: f"custom_nodes.{folder.name}" for name in classes},
        web_directories={folder.name: folder / web} if web else {},
    )
