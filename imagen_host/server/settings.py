"""How does the editor read and change its settings (/settings)?"""

from __future__ import annotations

import asyncio

from aiohttp import web

from ..json_text import as_text
from ._routes import answer, answer_text, both, read_json, refuse, refuse_too_large
from .settings_file import LARGEST, TooLarge
from .state import state_of


async def get_all(request: web.Request) -> web.Response:
    settings = state_of(request).settings
    return answer_text(await asyncio.to_thread(lambda: as_text(settings.all()).encode()))


async def get_one(request: web.Request) -> web.Response:
    return answer((await asyncio.to_thread(state_of(request).settings.all)).get(request.match_info["id"]))


async def change(request: web.Request) -> web.Response:
    """Set one, or several; a name that is not given is left as it is."""
    try:
        if len(await request.read()) > LARGEST:
            raise TooLarge
        name, values = request.match_info.get("id"), await read_json(request)
        if name is None and not isinstance(values, dict):
            raise refuse("settings are an object of values by id")
        await asyncio.to_thread(state_of(request).settings.change, values if name is None else {name: values})
    except TooLarge as error:
        raise refuse_too_large(str(error)) from None
    return web.Response()


ROUTES = [
    *both("GET", "/settings", get_all),
    *both("POST", "/settings", change),
    *both("GET", "/settings/{id}", get_one),
    *both("POST", "/settings/{id}", change),
]
