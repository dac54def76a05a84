"""What is on this server: nodes, templates, scripts, machine; and the short answers to what a host of our nodes lacks."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aiohttp import web

from .. import runtime
from ..graphs.reading import describe, missing_classes, shipped
from ._routes import Handler, answer, answer_file, both
from .frontend import extension_scripts, frontend_version
from .security import inside
from .state import ServerState
from .websocket import features

# What ComfyUI has and this host does not: an empty answer each, so that the editor asks once and stays quiet.
EMPTY_LISTS = ("/embeddings", "/models", "/experiment/models", "/models/{folder}", "/experiment/models/{folder}")
EMPTY_OBJECTS = ("/node_replacements", "/internal/folder_paths")
USERS = {"storage": "server", "migrated": True}
log = logging.getLogger(__name__)
PICTURES = (".jpg", ".jpeg", ".png", ".webp")


def add_routes(app: web.Application, state: ServerState) -> None:
    pack = state.pack

    def always(path: str, value: Any) -> None:
        both(app.router, "GET", path, constant(value))

    async def object_info(request: web.Request) -> web.Response:
        return answer(await asyncio.to_thread(described, state))

    async def one_class(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        known = name in state.registry.classes
        return answer(await asyncio.to_thread(described, state, [name]) if known else {})

    async def extensions(request: web.Request) -> web.Response:
        return answer(await asyncio.to_thread(extension_scripts, state))

    async def system_stats(request: web.Request) -> web.Response:
        return answer(await asyncio.to_thread(statistics, state))

    async def template_names(request: web.Request) -> web.Response:
        return answer({pack.name: list(await asyncio.to_thread(templates, state))})

    async def template_cards(request: web.Request) -> web.Response:
        cards = [card(name, text) for name, text in (await asyncio.to_thread(templates, state)).items()]
        return answer([{"moduleName": pack.name, "title": pack.name, "type": "image", "templates": cards}])

    async def template_file(request: web.Request) -> web.StreamResponse:
        path = inside(pack / "workflows", request.match_info["file"])
        if request.match_info["pack"] != pack.name or path.suffix not in (".json", *PICTURES) or not path.is_file():
            raise web.HTTPNotFound()
        return await answer_file(request, path, {"Cache-Control": "no-cache"})

    async def nothing(request: web.Request) -> web.Response:
        return web.Response(content_type="text/css")

    both(app.router, "GET", "/object_info", object_info)
    both(app.router, "GET", "/object_info/{name}", one_class)
    both(app.router, "GET", "/extensions", extensions)
    both(app.router, "GET", "/system_stats", system_stats)
    # The names are for scripts. The editor shows the cards, which have descriptions, and would show the names besides.
    app.router.add_get("/workflow_templates", template_names)
    app.router.add_get("/api/workflow_templates", constant({}))
    both(app.router, "GET", "/templates/index.json", template_cards)
    both(app.router, "GET", "/workflow_templates/{pack}/{file}", template_file)
    both(app.router, "GET", "/user.css", nothing)
    always("/users", USERS)
    always("/features", features(state.max_upload_size))
    always("/templates/index_logo.json", {})
    always("/internal/logs", "")
    for path in EMPTY_LISTS:
        always(path, [])
    for path in EMPTY_OBJECTS:
        always(path, {})


def constant(value: Any) -> Handler:
    """A handler that always answers `value` as JSON."""

    async def handler(request: web.Request) -> web.Response:
        return answer(value)

    return handler


def described(state: ServerState, names: list[str] | None = None) -> dict[str, dict]:
    """object_info of all classes, or of `names`; the lists of files in it are those of this server's folders.

    A class whose INPUT_TYPES fails is left out, as in ComfyUI: the editor shows its nodes as missing, and all others.
    """
    found = {}
    with runtime.use(state.host):
        for name in names or state.registry.classes:
            try:
                found[name] = state.registry.describe(name)
            except Exception as error:
                logging.getLogger(__name__).error("node class %s cannot be described: %s", name, error)
    return found


def templates(state: ServerState) -> dict[str, str]:
    """The shipped workflows that this host can run, each with one line about it; from a prompt to a picture first."""
    runnable = usable(shipped(state.pack).values(), state)
    return dict(sorted(runnable.items(), key=lambda item: not item[0].startswith("text_to_image")))


def usable(paths: Iterable[Path], state: ServerState) -> dict[str, str]:
    """The graphs whose nodes this host has, by name, each with its line; a file that is no graph is left out and said."""
    found = {}
    for path in paths:
        try:
            if not missing_classes(path, state.registry.classes):
                found[path.stem] = describe(path)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("%s is left out: %s", path, error)
    return found


def card(name: str, description: str) -> dict[str, str]:
    """One template as the editor's browser shows it, with the picture <name>.jpg beside the workflow."""
    title = name.replace("_", " ").capitalize().replace("Deepfloyd if", "DeepFloyd IF")
    return {"name": name, "title": title, "description": description, "mediaType": "image", "mediaSubtype": "jpg"}


def statistics(state: ServerState) -> dict:
    """What the editor's About and resource panels show; bytes."""
    import torch

    memory = _memory()
    system = {
        "os": platform.system().lower(),
        "ram_total": memory[0],
        "ram_free": memory[1],
        "comfyui_version": "0.33.0",  # the version whose interface this host follows
        "required_frontend_version": frontend_version(state.frontend),
        "installed_frontend_version": frontend_version(state.frontend),
        "python_version": sys.version,
        "pytorch_version": torch.__version__,
        "embedded_python": False,
        "argv": ["imagen", "serve"],
    }
    device = {"name": "cpu", "type": "cpu", "index": None}
    free, total = memory[1], memory[0]
    if torch.cuda.is_available():
        device = {"name": torch.cuda.get_device_name(0), "type": "cuda", "index": 0}
        free, total = torch.cuda.mem_get_info(0)
    sizes = {"vram_total": total, "vram_free": free, "torch_vram_total": total, "torch_vram_free": free}
    return {"system": system, "devices": [{**device, **sizes}]}


def _memory() -> tuple[int, int]:
    """Total and free memory in bytes; 0 where neither psutil nor the system says."""
    try:
        import psutil

        memory = psutil.virtual_memory()
        return memory.total, memory.available
    except ImportError:
        names = ("SC_PHYS_PAGES", "SC_AVPHYS_PAGES")
        known = hasattr(os, "sysconf") and all(name in os.sysconf_names for name in names)
        return tuple(os.sysconf(name) * os.sysconf("SC_PAGE_SIZE") for name in names) if known else (0, 0)
