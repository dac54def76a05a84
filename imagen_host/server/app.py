"""Which parts make up the server, and how does it start and stop?"""

from __future__ import annotations

from aiohttp import web

from . import files, frontend, info, security, userdata
from .state import ServerState


def create_app(state: ServerState) -> web.Application:
    """The whole server as an aiohttp application; the frontend comes last, because it takes every path left over."""
    app = web.Application(client_max_size=state.max_body_size, middlewares=security.middlewares(state))
    for part in (info, files, userdata, frontend):
        part.add_routes(app, state)
    return app
