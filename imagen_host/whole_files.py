"""How does a file come under its name whole or not at all? As imagen_core/whole_files.py says."""

from __future__ import annotations

from ._core_files import load_alone

_core = load_alone("whole_files")
whole, write, drafts, replace, claim = _core.whole, _core.write, _core.drafts, _core.replace, _core.claim
sweep, locked_folder = _core.sweep, _core.locked_folder
PREFIX = _core.PREFIX
