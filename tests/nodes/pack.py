"""The pack, loaded from its folder under a path-like name, as ComfyUI loads it."""

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def _load():
    name = str(ROOT).replace(".", "_x_")
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            name, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
        )
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


PACK = _load()
NODES = PACK.NODE_CLASS_MAPPINGS
CORE = sys.modules[f"{PACK.__name__}.imagen_core"]
