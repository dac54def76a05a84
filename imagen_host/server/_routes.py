"""How do the routes of this server read a request and answer it? Each is served at /x and /api/x, as ComfyUI does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from ..graphs.records import parse
from ..json_text import MOST_VALUES, as_text
from ..validation import finite

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
AT_ONCE = 2**16  # bytes that are parsed on the event loop; more would hold everybody up
JSON = "application/json"


def both(method: str, path: str, handler: Handler) -> list[web.RouteDef]:
    """Serve `handler` at `path` and at `/api` + `path`: scripts use the first, the editor's page the second."""
    if method == "GET":
        return [web.get(prefix + path, handler) for prefix in ("", "/api")]
    return [web.route(method, prefix + path, handler) for prefix in ("", "/api")]


def constant(value: Any) -> Handler:
    """A handler that always answers `value` as JSON."""

    async def handler(request: web.Request) -> web.Response:
        return answer(value)

    return handler


def refuse(message: str, kind: type[web.HTTPError] = web.HTTPBadRequest) -> web.HTTPError:
    """An exception to raise for a request that is wrong; its body is `{"error": message}`."""
    return kind(text=as_text({"error": " ".join(message.split())}), content_type=JSON)


def answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """`value` as the JSON that is sent."""
    return web.Response(text=as_text(value), status=status, headers=headers, content_type=JSON)


def answer_text(text: bytes) -> web.Response:
    """JSON that was made before as the answer."""
    return web.Response(body=text, content_type=JSON, charset="utf-8")


async def answer_file(request: web.Request, path: Path, headers: dict[str, str]) -> web.FileResponse:
    """A file as the answer. Raises OSError when it cannot be opened: later, while it is sent, is too late to say so."""
    try:
        request.http_range  # noqa: B018  raises for what is no range
    except ValueError:
        raise refuse("the header Range names no range of bytes", web.HTTPRequestRangeNotSatisfiable) from None
    await asyncio.to_thread(lambda: open(path, "rb").close())
    return web.FileResponse(path, headers=headers)


def parse_body(body: bytes) -> Any:
    """The JSON of a request's body. Raises ValueError for all else, for absurd nesting and for too many values."""
    if body.count(b",") > MOST_VALUES:  # before parsing, which takes seconds and gigabytes
        raise TooMany(f"the request's body holds more than {MOST_VALUES:,} values: send less at once")
    return parse(body, "the request's body")


class TooMany(ValueError):
    """A body that is too large to be parsed."""


async def read_json(request: web.Request) -> Any:
    """The request's JSON body. Answers 400 to anything else and to numbers that JSON has not, 413 to too many values."""
    body = await request.read()
    return await asyncio.to_thread(_json_of, body) if len(body) > AT_ONCE else _json_of(body)


def _json_of(body: bytes) -> Any:
    try:
        data = parse_body(body)
    except TooMany as error:
        raise refuse_too_large(str(error)) from None
    except ValueError as error:
        raise refuse(str(error)) from None
    if not finite(data):
        raise refuse("the request's body holds a number that is not finite: JSON has none")
    return data


def refuse_too_large(message: str) -> web.HTTPError:
    """An exception to raise for a request that is larger than this server takes."""
    return web.HTTPRequestEntityTooLarge(0, 0, text=as_text({"error": message}), content_type=JSON)


async def read_object(request: web.Request) -> dict:
    """The request's JSON body, which must be an object; an empty body counts as `{}`."""
    data = await read_json(request) if await request.read() else {}
    if not isinstance(data, dict):
        raise refuse("the request's body should be a JSON object")
    return data


def ids_of(body: dict, key: str) -> list[str]:
    """The list of ids that a body holds under `key`; none if the key is not there."""
    ids = body.get(key, [])
    if not isinstance(ids, list) or not all(isinstance(item, str) for item in ids):
        raise refuse(f"{key!r} should be a list of ids")
    return ids


def whole_number(request: web.Request, name: str) -> int | None:
    """A query parameter that counts something; None when it is missing or negative, which means the same."""
    text = request.query.get(name)
    if text is None:
        return None
    try:
        number = int(text[:20])
    except ValueError:
        raise refuse(f"{name} should be a whole number, not {text!r:.40}") from None
    return number if number >= 0 else None
