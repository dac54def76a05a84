"""Whose requests does the server answer? Those of its own page and of programs on its own names."""

from __future__ import annotations

from .state import ServerState


def middlewares(state: ServerState) -> list:
    """What every request passes through before its route."""
    return []
