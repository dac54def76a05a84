"""How does a file come under its name whole or not at all? As imagen_core/whole_files.py says, loaded alone.

The core's package would bring torch, which a command that only prints can do without; this one file needs nothing.
"""

from __future__ import annotations

import importlib.util

from .runtime import PACK_ROOT

_spec = importlib.util.spec_from_file_location(f"{__name__}_core", PACK_ROOT / "imagen_core" / "whole_files.py")
_core = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_core)

whole, write, drafts, replace, claim = _core.whole, _core.write, _core.drafts, _core.replace, _core.claim
sweep, locked_folder = _core.sweep, _core.locked_folder
PREFIX = _core.PREFIX
