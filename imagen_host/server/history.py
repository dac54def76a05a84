"""How is the history of prompts shown and changed (/history)? All in threads: its file may be large, or another's turn."""

from __future__ import annotations

import asyncio

from aiohttp import web

from ..jobs.history import as_object
from ._routes import answer_text, both, ids_of, read_object, whole_number
from .state import state_of


async def page(request: web.Request) -> web.Response:
    max_items, offset = (whole_number(request, name) for name in ("max_items", "offset"))
    return answer_text(await asyncio.to_thread(state_of(request).queue.history.page, max_items, offset))


async def one(request: web.Request) -> web.Response:
    prompt_id = request.match_info["prompt_id"]
    entry = await asyncio.to_thread(state_of(request).queue.history.get, prompt_id)
    return answer_text(as_object({} if entry is None else {prompt_id: entry}))


async def change(request: web.Request) -> web.Response:
    body, history = await read_object(request), state_of(request).queue.history
    if body.get("clear"):
        await asyncio.to_thread(history.remove)
    elif ids := ids_of(body, "delete"):
        await asyncio.to_thread(history.remove, ids)
    return web.Response()


ROUTES = [
    *both("GET", "/history", page),
    *both("GET", "/history/{prompt_id}", one),
    *both("POST", "/history", change),
]
