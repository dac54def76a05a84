"""Where do saved workflows live, and how are they listed, read, written, moved, deleted?

In `state.user_directory`: `workflows/*.json` and what else the editor keeps, settings and history among it.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

from aiohttp import web

from .. import whole_files
from ._routes import answer, answer_file, both, refuse
from .security import inside, served_type
from .state import state_of


async def list_files(request: web.Request) -> web.Response:
    wanted = {name: is_true(request.query.get(name, "")) for name in ("recurse", "split", "full_info")}
    folder = inside(_root(request), request.query.get("dir", "").strip("/"))
    if not folder.is_dir():
        raise refuse("no such folder", web.HTTPNotFound)
    return answer(await asyncio.to_thread(listing, folder, **wanted))


async def read_file(request: web.Request) -> web.StreamResponse:
    path = _existing(request)
    headers = {"Content-Type": served_type(path), "Cache-Control": "no-cache"}
    return await answer_file(request, path, headers)


async def write_file(request: web.Request) -> web.Response:
    data = await request.read()
    path = _target(request, "file")
    try:
        await asyncio.to_thread(whole_files.write, path, data, replace=_may_replace(request))
    except FileExistsError:
        raise refuse("a file of that name exists", web.HTTPConflict) from None
    return answer(_answer(path, request))


async def delete_file(request: web.Request) -> web.Response:
    await asyncio.to_thread(_existing(request).unlink)
    return web.Response(status=204)


async def move_file(request: web.Request) -> web.Response:
    source, target = _existing(request), _target(request, "target")
    await asyncio.to_thread(move, source, target, _may_replace(request))
    return answer(_answer(target, request))


def is_true(text: str) -> bool:
    """Whether a field or query value says yes."""
    return text.lower() in ("true", "1")


def listing(folder: Path, *, recurse: bool, split: bool, full_info: bool) -> list:
    """Files below `folder` with relative names: as text, split into parts, or with size and times.

    What cannot be looked at, went meanwhile, or is in the making, is left out.
    """
    found: list[tuple[Path, str]] = []
    for path in sorted(folder.rglob("*") if recurse else folder.glob("*")):
        with contextlib.suppress(OSError, RuntimeError):
            name = path.relative_to(folder).as_posix()
            ready = f"/{whole_files.PREFIX}" not in f"/{name}"
            if ready and path.is_file() and path.resolve().is_relative_to(folder):
                found.append((path, name))
    if full_info:
        return [described for path, name in found if (described := info(path, name))]
    return [[name, *name.split("/")] if split else name for _, name in found]


def info(path: Path, name: str) -> dict | None:
    """What the editor is told about one file; size in bytes, times in ms since 1970. None when it is gone."""
    try:
        status = path.stat()
    except OSError:
        return None
    times = {"modified": int(status.st_mtime * 1000), "created": int(status.st_ctime * 1000)}
    return {"path": name, "size": status.st_size, **times}


def move(source: Path, target: Path, replace: bool) -> None:
    """Give a file another name. Answers 409 when that is taken and not to be replaced."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if replace:
        whole_files.replace(source, target)
    elif whole_files.claim(source, target):
        source.unlink(missing_ok=True)
    else:
        raise refuse("a file of that name exists", web.HTTPConflict)


def _may_replace(request: web.Request) -> bool:
    return request.query.get("overwrite", "true").lower() != "false"


def _root(request: web.Request) -> Path:
    return state_of(request).user_directory


def _existing(request: web.Request) -> Path:
    path = inside(_root(request), request.match_info["file"])
    if not path.is_file():
        raise refuse("no such file", web.HTTPNotFound)
    return path


def _target(request: web.Request, part: str) -> Path:
    """The path to write to. Answers 400 when a folder is in the way."""
    root = _root(request)
    path = inside(root, request.match_info[part])
    if path.is_dir() or path == root.resolve() or any(folder.is_file() for folder in path.parents):
        raise refuse("a folder cannot be replaced by a file, nor a file by a folder")
    return path


def _answer(path: Path, request: web.Request) -> Any:
    name = path.relative_to(_root(request).resolve()).as_posix()
    return info(path, name) if is_true(request.query.get("full_info", "")) else name


ROUTES = [
    *both("GET", "/userdata", list_files),
    *both("GET", "/userdata/{file:.+}", read_file),
    *both("POST", "/userdata/{file:.+}/move/{target:.+}", move_file),
    *both("POST", "/userdata/{file:.+}", write_file),
    *both("DELETE", "/userdata/{file:.+}", delete_file),
]
