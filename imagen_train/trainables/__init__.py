"""What can be trained by name? One file each, found by discovery.

Not by the core's discovery: `imagen --help` lists these, and must not bring torch for it. So a file here says what it is
at once, and imports what it trains with when it trains.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable

from ._base import Outcome, TrainableStage

__all__ = ["TRAINABLES", "Outcome", "TrainableStage", "discover"]


def discover(package: str, places: Iterable[str]) -> dict[str, TrainableStage]:
    """Every trainable of a package's modules by its name. ValueError when two share one."""
    found: dict[str, TrainableStage] = {}
    for module_name in sorted(info.name for info in pkgutil.iter_modules(places)):
        if module_name.startswith("_"):
            continue
        module = importlib.import_module(f"{package}.{module_name}")
        for value in vars(module).values():
            if not _is_trainable(value, module.__name__):
                continue
            if value.name in found:
                raise ValueError(f"{module.__name__} and another module both call themselves {value.name!r}")
            found[value.name] = value()
    return found


def _is_trainable(value: object, module: str) -> bool:
    if not isinstance(value, type) or not issubclass(value, TrainableStage) or value.__module__ != module:
        return False
    return not inspect.isabstract(value)


TRAINABLES = discover(__name__, __path__)
