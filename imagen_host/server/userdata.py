"""Where do saved workflows go (/userdata)?"""

from __future__ import annotations

from aiohttp import web

from .state import ServerState


def add_routes(app: web.Application, state: ServerState) -> None:
    """Add this file's routes."""
