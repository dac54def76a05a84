"""How are the implementations of one kind found, written down as JSON-able settings, and rebuilt from them?"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def discover(package_name: str, package_path: Iterable[str], base: type[T]) -> dict[str, type[T]]:
    """Import every module of a package and collect the concrete subclasses of `base` that it defines, by their `name`.

    Imports are relative to `package_name`, so this works under whatever name a host loads the pack. Modules whose
    name starts with an underscore are private and skipped. Raises ValueError when two classes share a name.
    """
    found: dict[str, type[T]] = {}
    for module_name in sorted(info.name for info in pkgutil.iter_modules(package_path)):
        if module_name.startswith("_"):
            continue
        module = importlib.import_module("." + module_name, package=package_name)
        for value in vars(module).values():
            if _is_implementation(value, base, module.__name__):
                _register(found, value)
    return found


def _is_implementation(value: object, base: type, module_name: str) -> bool:
    return (
        inspect.isclass(value)
        and issubclass(value, base)
        and not inspect.isabstract(value)
        and value.__module__ == module_name
    )


def _register(found: dict[str, type[T]], implementation: type[T]) -> None:
    name = getattr(implementation, "name", None)
    if not isinstance(name, str):
        raise ValueError(f"{implementation.__qualname__} has no name: give the class a `name: ClassVar[str]`")
    if name in found:
        raise ValueError(f"{implementation.__module__} and {found[name].__module__} both call themselves {name!r}")
    found[name] = implementation


def settings_of(implementation: type) -> dict[str, tuple[Any, str]]:
    """The settings of an implementation by name, each with its default and what the class's docstring says of it."""
    entries = re.split(r"^ *([a-z_]\w*(?:, \w+)*): ", implementation.__doc__ or "", flags=re.MULTILINE)[1:]
    told = {
        name: " ".join(text.split("\n\n")[0].split())
        for names, text in zip(entries[::2], entries[1::2], strict=True)
        for name in names.split(", ")
    }
    return {field.name: (field.default, told.get(field.name, "")) for field in dataclasses.fields(implementation)}


def to_config(settings: Any) -> dict[str, Any]:
    """The JSON-able settings of one implementation: {"name": ..., field: value, ...}."""
    return {"name": settings.name, **dataclasses.asdict(settings)}


def from_config(registry: Mapping[str, type[T]], config: Mapping[str, Any], *, kind: str) -> T:
    """Rebuild what `to_config` wrote. `kind` (such as "schedule") names the thing in errors.

    Raises ValueError for a missing or unknown name and for unknown or missing settings.
    """
    settings = dict(config)
    name = settings.pop("name", None)
    if name not in registry:
        raise ValueError(f"unknown {kind} {name!r}: expected `name` to be one of {', '.join(sorted(registry))}")
    implementation = registry[name]
    fields = dataclasses.fields(implementation)
    unknown = sorted(set(settings) - {field.name for field in fields})
    missing = sorted(field.name for field in fields if field.name not in settings and not _has_default(field))
    if unknown or missing:
        raise ValueError(
            f"the {name} {kind} does not know {unknown or 'nothing'} and misses {missing or 'nothing'}:"
            f" its settings are {[field.name for field in fields]}"
        )
    return implementation(**settings)


def _has_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
