"""Which nodes exist: every class in this folder's modules that names a FUNCTION. A new file here is a new node."""

import importlib
import pkgutil

from . import _host

ALL_NODES: dict[str, type] = {}
for _module in pkgutil.iter_modules(__path__):
    if not _module.name.startswith("_"):
        _loaded = importlib.import_module(f".{_module.name}", __name__)
        ALL_NODES |= {
            name: value
            for name, value in vars(_loaded).items()
            if isinstance(value, type) and value.__module__ == _loaded.__name__ and hasattr(value, "FUNCTION")
        }

# A node that speaks of the host's own MODEL or CONDITIONING says NEEDS_COMFYUI: elsewhere it could not run.
NODE_CLASS_MAPPINGS = {
    name: node for name, node in ALL_NODES.items() if _host.IN_COMFYUI or not getattr(node, "NEEDS_COMFYUI", False)
}
NODE_DISPLAY_NAME_MAPPINGS = {name: node.DISPLAY_NAME for name, node in NODE_CLASS_MAPPINGS.items()}
