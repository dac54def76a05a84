"""How do the routes of this server read a request and answer it? Each is served at /x and /api/x, as ComfyUI does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from ..reading import parse
from ..validation import finite

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def both(router: web.UrlDispatcher, method: str, path: str, handler: Handler) -> None:
    """Serve `handler` at `path` and at `/api` + `path`: scripts use the first, the editor's page the second."""
    for prefix in ("", "/api"):
        if method == "GET":
            router.add_get(prefix + path, handler, allow_head=True)
        else:
            router.add_route(method, prefix + path, handler)


def refuse(message: str, kind: type[web.HTTPError] = web.HTTPBadRequest) -> web.HTTPError:
    """An exception to raise for a request that is wrong; its body is `{"error": message}`."""
    return kind(text=web.json_response({"error": message}).text, content_type="application/json")


async def read_json(request: web.Request) -> Any:
    """The request's JSON body. Answers 400 to anything else, to absurd nesting and to numbers that JSON has not."""
    try:
        data = parse(await request.read(), "the request's body")
    except ValueError as error:
        raise refuse(str(error)) from None
    if not finite(data):
        raise refuse("the request's body holds a number that is not finite: JSON has none")
    return data


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
