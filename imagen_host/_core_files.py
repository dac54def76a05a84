"""How does the host use the few files of the core that need nothing but the standard library, without the core?

The core's package brings torch, which a command that only prints can do without.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

CORE = Path(__file__).resolve().parent.parent / "imagen_core"


def load_alone(name: str) -> ModuleType:
    """The core's file `name`.py as a module of its own."""
    spec = importlib.util.spec_from_file_location(f"imagen_host._core_{name}", CORE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
