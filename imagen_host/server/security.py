"""Whose requests does the server answer, and which files may they touch?

Any page in a browser can send requests to 127.0.0.1, under this server's name or under one of its own that resolves
there (DNS rebinding); so both the Origin and the Host of a request are held against what this server is called.
"""

from __future__ import annotations

import ipaddress
import mimetypes
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from ._routes import refuse
from .errors import errors_are_json
from .state import ServerState

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
LONGEST_NAME = 200  # bytes of one part of a path; most systems stop at 255, and a counter may be added
PAGES = ("/", "/index.html")  # that a link elsewhere may lead to
OWN_SITES = ("same-origin", "none")  # none: typed in, or a bookmark
LABELS = {
    "X-Content-Type-Options": "nosniff",  # a file is what we say it is
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "frame-ancestors 'self'",
    "X-Frame-Options": "SAMEORIGIN",
}
PLAIN_TYPES = ("application/json", "text/plain")  # besides pictures, what a user's file is served as


def middlewares(state: ServerState) -> list:
    """What every request passes through before its route: 403 for a Host that is not ours, and for foreign pages."""
    known = {name.strip("[]").lower() for name in state.host_names}

    @web.middleware
    async def label(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        if not response.prepared:
            label_with(response)
        return response

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if reason := refusal(request.headers, request.method, request.path, known):
            raise refuse(reason, web.HTTPForbidden)
        response = await handler(request)
        label_with(response)
        return response

    return [label, errors_are_json, guard]


def label_with(response: web.StreamResponse) -> None:
    """Say with an answer what other pages may do with it: neither read it, nor show it, nor frame it."""
    if not response.prepared:
        for name, value in LABELS.items():
            response.headers.setdefault(name, value)


def refusal(headers: Mapping[str, str], method: str, path: str, known: Collection[str]) -> str | None:
    """Why a request is refused, or None. An IP address as Host is safe: rebinding needs a name.

    Another port of this machine is another site, though browsers call it the same; only programs say nothing.
    """
    host = headers.get("Host", "")
    name = hostname(host)
    if name is None or not (name in known or is_address(name)):
        return f"unknown host {host!r:.100}: open the editor at the address that 'imagen serve' printed"
    origin = headers.get("Origin")
    if origin is not None and host_of_origin(origin) != host.lower():
        return f"a page of {origin!r:.100} may not use this server"
    if headers.get("Sec-Fetch-Site", "none") not in OWN_SITES and not opens_editor(headers, method, path):
        return "a page of another site or port may not use this server"
    return None


def opens_editor(headers: Mapping[str, str], method: str, path: str) -> bool:
    """Whether a link to the editor was followed, which any page may hold; but not to a picture, a list, or in a frame."""
    opened = headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest", "document") == "document"
    return opened and method in ("GET", "HEAD") and path in PAGES


def host_of_origin(origin: str) -> str | None:
    """Host and port of an Origin; None for `null` and for what is no URL."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    return parts.netloc.lower() if parts.scheme in ("http", "https") and parts.netloc else None


def hostname(host: str) -> str | None:
    """The name in a Host header, without port and brackets; None when it is malformed."""
    try:
        parts = urlsplit(f"//{host}")
        parts.port  # noqa: B018  raises for what is no port
    except ValueError:
        return None
    return parts.hostname if parts.netloc == host and "@" not in host else None


def is_address(name: str) -> bool:
    """Whether a host is given by number."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def warning_for(address: str) -> str | None:
    """What to say loudly before binding to `address`; None where only this machine reaches it."""
    loopback = ipaddress.ip_address(address).is_loopback if is_address(address) else address.lower() == "localhost"
    if loopback:
        return None
    return (
        f"WARNING: listening on {address or 'every address'}: whoever reaches this machine over the network can run\n"
        "graphs, stop yours, and read and write the input, output and user folders. There is no password.\n"
        "Keep the default 127.0.0.1 and use 'ssh -L', unless you trust everybody on this network."
    )


def inside(root: Path, name: str) -> Path:
    """The path called `name` under `root`; it need not exist. Answers 400 to what is no plain path below `root`.

    `name` is relative, its parts separated by '/'. Links that lead out of `root` count as out.
    """
    root = root.resolve()
    parts = name.split("/") if name else []
    plain = not any(part in ("", ".", "..") or len(part.encode(errors="replace")) > LONGEST_NAME for part in parts)
    odd = any(ord(letter) < 32 or letter in "\\\x7f" for letter in name) or (parts and parts[0][1:2] == ":")
    try:
        path = root.joinpath(*parts).resolve() if plain and not odd else None
    except (OSError, ValueError, RuntimeError):  # names that the system refuses; links in a circle
        path = None
    if path is None or not path.is_relative_to(root):
        raise refuse(f"{name!r:.100} is no path inside this folder")
    return path


def served_type(path: Path) -> str:
    """The Content-Type under which a user's file is given out: never one that a browser would run as a page."""
    kind = mimetypes.guess_type(path.name)[0] or ""
    harmless = kind.startswith(("image/", "video/", "audio/")) and kind != "image/svg+xml"
    return kind if harmless or kind in PLAIN_TYPES else "application/octet-stream"
