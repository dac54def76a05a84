"""Where do saved workflows and the editor's settings live, and how are they listed, read, written, moved, deleted?

All in one folder, `state.user_directory`: `workflows/*.json`, `comfy.settings.json`, and what else the editor keeps.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from aiohttp import web

from .. import whole_files
from ._routes import answer, answer_file, both, read_json, refuse
from .security import inside, served_type
from .state import ServerState

SETTINGS_FILE = "comfy.settings.json"
# A blank graph and the template browser are the first screen; the editor's own start is a graph of nodes we lack.
FIRST_SCREEN = {"Comfy.TutorialCompleted": False}
DEFAULTS = {
    "Comfy.Notification.ShowVersionUpdates": False,  # would ask ComfyUI's makers for news
    "LiteGraph.Canvas.MinFontSizeForLOD": 6,  # pixels: a whole cascade in one window still shows its text
}


def add_routes(app: web.Application, state: ServerState) -> None:
    """Routes of saved files and of settings."""
    _add_files(app, state.user_directory)
    _add_settings(app, state.user_directory)


def _add_files(app: web.Application, root: Path) -> None:
    async def list_files(request: web.Request) -> web.Response:
        wanted = {name: is_true(request.query.get(name, "")) for name in ("recurse", "split", "full_info")}
        folder = inside(root, request.query.get("dir", "").strip("/"))
        if not folder.is_dir():
            raise refuse("no such folder", web.HTTPNotFound)
        return answer(await asyncio.to_thread(listing, folder, **wanted))

    async def read_file(request: web.Request) -> web.StreamResponse:
        path = _existing(root, request)
        headers = {"Content-Type": served_type(path), "Cache-Control": "no-cache"}
        return await answer_file(request, path, headers)

    async def write_file(request: web.Request) -> web.Response:
        data = await request.read()
        path = _target(root, request, "file")
        await asyncio.to_thread(whole_files.write, path, data)
        return answer(_answer(path, root, request))

    async def delete_file(request: web.Request) -> web.Response:
        _existing(root, request).unlink()
        return web.Response(status=204)

    async def move_file(request: web.Request) -> web.Response:
        source, target = _existing(root, request), _target(root, request, "target")
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(source, target)
        return answer(_answer(target, root, request))

    both(app.router, "GET", "/userdata", list_files)
    both(app.router, "GET", "/userdata/{file:.+}", read_file)
    both(app.router, "POST", "/userdata/{file:.+}/move/{target:.+}", move_file)
    both(app.router, "POST", "/userdata/{file:.+}", write_file)
    both(app.router, "DELETE", "/userdata/{file:.+}", delete_file)


def _add_settings(app: web.Application, root: Path) -> None:
    async def get_settings(request: web.Request) -> web.Response:
        return answer(settings(root))

    async def get_setting(request: web.Request) -> web.Response:
        return answer(settings(root).get(request.match_info["id"]))

    async def set_settings(request: web.Request) -> web.Response:
        name, change = request.match_info.get("id"), await read_json(request)
        if name is None and not isinstance(change, dict):
            raise refuse("settings are an object of values by id")
        merged = settings(root) | (change if name is None else {name: change})
        whole_files.write(root / SETTINGS_FILE, json.dumps(merged, indent=2).encode())
        return web.Response()

    both(app.router, "GET", "/settings", get_settings)
    both(app.router, "POST", "/settings", set_settings)
    both(app.router, "GET", "/settings/{id}", get_setting)
    both(app.router, "POST", "/settings/{id}", set_settings)


def settings(root: Path) -> dict:
    """The stored settings; a damaged file counts as none, so that the editor still opens."""
    try:
        stored = json.loads((root / SETTINGS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        stored = {}
    return DEFAULTS | (stored if isinstance(stored, dict) else {}) | FIRST_SCREEN


def is_true(text: str) -> bool:
    """Whether a field or query value says yes."""
    return text.lower() in ("true", "1")


def listing(folder: Path, *, recurse: bool, split: bool, full_info: bool) -> list:
    """Files below `folder` with relative names: as text, split into parts, or with size and times."""
    found = sorted(folder.rglob("*") if recurse else folder.glob("*"))
    paths = [path for path in found if path.is_file() and path.resolve().is_relative_to(folder)]
    names = [path.relative_to(folder).as_posix() for path in paths]
    if full_info:
        return [info(path, name) for path, name in zip(paths, names, strict=True)]
    return [[name, *name.split("/")] for name in names] if split else names


def info(path: Path, name: str) -> dict:
    """What the editor is told about one file; size in bytes, times in ms since 1970."""
    status = path.stat()
    times = {"modified": int(status.st_mtime * 1000), "created": int(status.st_ctime * 1000)}
    return {"path": name, "size": status.st_size, **times}


def _existing(root: Path, request: web.Request) -> Path:
    path = inside(root, request.match_info["file"])
    if not path.is_file():
        raise web.HTTPNotFound()
    return path


def _target(root: Path, request: web.Request, part: str) -> Path:
    """The path to write to. Answers 409 when it exists and ?overwrite=false, 400 when a folder is in the way."""
    path = inside(root, request.match_info[part])
    if path.exists() and request.query.get("overwrite", "true").lower() == "false":
        raise refuse("a file of that name exists", web.HTTPConflict)
    if path.is_dir() or path == root.resolve() or any(folder.is_file() for folder in path.parents):
        raise refuse("a folder cannot be replaced by a file, nor a file by a folder")
    return path


def _answer(path: Path, root: Path, request: web.Request) -> Any:
    name = path.relative_to(root.resolve()).as_posix()
    return info(path, name) if is_true(request.query.get("full_info", "")) else name
