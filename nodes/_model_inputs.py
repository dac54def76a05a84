"""The inputs that nodes for the host's MODEL share."""

from . import _sockets


def model_input(tooltip: str) -> tuple:
    return (_sockets.MODEL, {"tooltip": tooltip})


def share_input(default: float, tooltip: str, **options) -> tuple:
    """A place on the way from noise (0) to picture (1)."""
    return ("FLOAT", {"default": default, "min": 0.0, "max": 1.0, "step": 0.01, **options, "tooltip": tooltip})
