"""Which whole graphs does the node search offer as one node? The pack's `subgraphs/*.json` (GET /global_subgraphs)."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from aiohttp import web

from ._routes import answer, both, refuse
from .info import usable
from .state import ServerState, state_of


async def all_of_them(request: web.Request) -> web.Response:
    state = state_of(request)
    found = await asyncio.to_thread(blueprints, state)
    return answer({key: entry(path, state.pack) for key, path in found.items()})


async def one(request: web.Request) -> web.Response:
    state = state_of(request)
    path = (await asyncio.to_thread(blueprints, state)).get(request.match_info["id"])
    if path is None:
        raise refuse("no such blueprint", web.HTTPNotFound)
    data = await asyncio.to_thread(path.read_text, encoding="utf-8")
    return answer(entry(path, state.pack) | {"data": data})


def blueprints(state: ServerState) -> dict[str, Path]:
    """Those whose nodes this host has, by an id that stays the same from start to start."""
    paths = sorted((state.pack / "subgraphs").glob("*.json"))
    known = usable(paths, state)
    named = {path: f"{state.pack.name}/{path.name}" for path in paths if path.stem in known}
    return {hashlib.sha256(name.encode()).hexdigest(): path for path, name in named.items()}


def entry(path: Path, pack: Path) -> dict:
    """What the editor is told about a blueprint; `data`, its graph as text, only when it asks for that one."""
    return {"source": "custom_node", "name": path.stem, "info": {"node_pack": f"custom_nodes.{pack.name}"}}


ROUTES = [*both("GET", "/global_subgraphs", all_of_them), *both("GET", "/global_subgraphs/{id}", one)]
