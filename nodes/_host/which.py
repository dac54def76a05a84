"""Which host runs us: ComfyUI, or the embedded one.

Both are imported here, and what only one of them has is None under the other.
"""

from __future__ import annotations

import importlib

try:
    import folder_paths
    from comfy import model_management
    from comfy.cli_args import args
    from comfy.utils import ProgressBar

    runtime = None
except ModuleNotFoundError as missing:
    if (missing.name or "").partition(".")[0] not in ("folder_paths", "comfy"):
        raise
    folder_paths = model_management = args = None
    runtime = importlib.import_module("imagen_host.runtime")
    ProgressBar = runtime.ProgressBar

IN_COMFYUI = folder_paths is not None


def throw_if_interrupted() -> None:
    """Raise the host's own exception when the user pressed stop."""
    if IN_COMFYUI:
        model_management.throw_exception_if_processing_interrupted()
    else:
        runtime.throw_exception_if_processing_interrupted()
