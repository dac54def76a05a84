"""Which folder or file does a person name? As imagen_core/places.py says."""

from __future__ import annotations

from ._core_files import load_alone

_core = load_alone("places")
home, place, folder_there = _core.home, _core.place, _core.folder_there
working_folder_is_there = _core.working_folder_is_there
