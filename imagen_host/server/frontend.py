"""Where is the editor, and how do its pages and scripts reach the browser?

The `comfyui-frontend-package` wheel is served as it was installed; nothing of it is part of this repository.
"""

from __future__ import annotations

import mimetypes
from importlib.util import find_spec
from pathlib import Path

from aiohttp import web

from ..places import place
from ._routes import answer_file
from .security import inside
from .state import ServerState, state_of

PACKAGE = "comfyui_frontend_package"
# The editor would ask its makers' servers about nodes that it does not know or that fail. The browser keeps it from that.
STAY_HERE = "; ".join(
    [
        "connect-src 'self' ws://{host} wss://{host} data: blob:",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "frame-src 'self' blob:",
        "frame-ancestors 'self'",
    ]
)
TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".json": "application/json"}


def find_frontend(folder: str | Path | None = None) -> Path:
    """The folder with the editor's index.html: in `folder`, or in the installed wheel. Raises ValueError."""
    if folder is not None:
        given = place(folder)
        places = [given, given / "static", given / PACKAGE / "static"]
        found = next((place for place in places if (place / "index.html").is_file()), None)
        if found is None:
            raise ValueError(f"no editor in {given}: name a folder that holds index.html, or leave --frontend out")
        return found
    spec = find_spec(PACKAGE)
    static = Path(spec.origin).parent / "static" if spec and spec.origin else None
    if static is None or not (static / "index.html").is_file():
        raise ValueError("the editor is not installed: run `pip install -e '.[editor]'`, or `make editor`")
    return static


def frontend_version(static: Path) -> str:
    """The wheel's version, from what pip left beside the package; "unknown" where there is nothing."""
    found = sorted(static.parent.parent.glob(f"{PACKAGE}-*.dist-info"))
    return found[-1].name.removeprefix(f"{PACKAGE}-").removesuffix(".dist-info") if found else "unknown"


async def pack_file(request: web.Request) -> web.StreamResponse:
    """A script or help page of the pack; under a name that no pack has, one of the editor's own."""
    name, path = request.match_info["name"], request.match_info["path"]
    folder = state_of(request).registry.web_directories.get(name)
    return await (
        _editor_file(request, f"extensions/{name}/{path}") if folder is None else serve(request, folder, path)
    )


async def page(request: web.Request) -> web.StreamResponse:
    return await _editor_file(request, request.match_info["path"] or "index.html")


async def _editor_file(request: web.Request, name: str) -> web.StreamResponse:
    return await serve(request, state_of(request).frontend, name, ("assets/", "fonts/"))


def extension_scripts(state: ServerState) -> list[str]:
    """URL paths of the scripts that the editor loads at its start: its own and the pack's."""
    own = [f"/{path.relative_to(state.frontend).as_posix()}" for path in state.frontend.glob("extensions/**/*.js")]
    packs = [
        f"/extensions/{name}/{path.relative_to(folder).as_posix()}"
        for name, folder in state.registry.web_directories.items()
        for path in folder.glob("**/*.js")
    ]
    return sorted(own) + sorted(packs)


async def serve(request: web.Request, folder: Path, name: str, unchanging: tuple[str, ...] = ()) -> web.FileResponse:
    """A file of a web folder; what lies under `unchanging` has a hash in its name, and the browser may keep it."""
    path = inside(folder, name)
    if not path.is_file():
        raise web.HTTPNotFound()
    kept = bool(unchanging) and name.startswith(unchanging)
    kind = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    headers = {"Cache-Control": "public, max-age=86400" if kept else "no-cache", "Content-Type": kind}
    if kind == "text/html":
        headers["Content-Security-Policy"] = STAY_HERE.format(host=request.host)
    return await answer_file(request, path, headers)


ROUTES = [  # the last of all: it takes every path that is left over
    web.get("/extensions/{name}/{path:.+}", pack_file),
    web.get("/api/extensions/{name}/{path:.+}", pack_file),
    web.get("/{path:(?!api/).*}", page),
]
