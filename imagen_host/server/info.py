"""What is on this server: nodes, templates, scripts, machine; and the short answers to what a host of our nodes lacks."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import sys
from collections.abc import Iterable
from pathlib import Path

from aiohttp import web

from .. import runtime
from ..graphs.reading import describe, missing_classes, shipped
from ._routes import answer, answer_file, both, constant
from .clients import features
from .frontend import extension_scripts, frontend_version
from .security import inside
from .state import ServerState, state_of

# What ComfyUI has and this host does not: an empty answer each, so that the editor asks once and stays quiet.
EMPTY_LISTS = ("/embeddings", "/models", "/experiment/models", "/models/{folder}", "/experiment/models/{folder}")
EMPTY_OBJECTS = ("/node_replacements", "/internal/folder_paths", "/templates/index_logo.json")
USERS = {"storage": "server", "migrated": True}
log = logging.getLogger(__name__)
PICTURES = (".jpg", ".jpeg", ".png", ".webp")


async def object_info(request: web.Request) -> web.Response:
    return answer(await asyncio.to_thread(described, state_of(request)))


async def one_class(request: web.Request) -> web.Response:
    name, state = request.match_info["name"], state_of(request)
    return answer(await asyncio.to_thread(described, state, [name]) if name in state.registry.classes else {})


async def extensions(request: web.Request) -> web.Response:
    return answer(await asyncio.to_thread(extension_scripts, state_of(request)))


async def system_stats(request: web.Request) -> web.Response:
    return answer(await asyncio.to_thread(statistics, state_of(request)))


async def what_it_can(request: web.Request) -> web.Response:
    return answer(features(state_of(request).max_upload_size))


async def template_names(request: web.Request) -> web.Response:
    state = state_of(request)
    return answer({state.pack.name: list(await asyncio.to_thread(templates, state))})


async def template_cards(request: web.Request) -> web.Response:
    state = state_of(request)
    cards = [card(name, text) for name, text in (await asyncio.to_thread(templates, state)).items()]
    return answer([{"moduleName": state.pack.name, "title": state.pack.name, "type": "image", "templates": cards}])


async def template_file(request: web.Request) -> web.StreamResponse:
    pack = state_of(request).pack
    path = inside(pack / "workflows", request.match_info["file"])
    if request.match_info["pack"] != pack.name or path.suffix not in (".json", *PICTURES) or not path.is_file():
        raise web.HTTPNotFound()
    return await answer_file(request, path, {"Cache-Control": "no-cache"})


async def no_style(request: web.Request) -> web.Response:
    return web.Response(content_type="text/css")


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


FROM_A_PROMPT = "text_to_image"  # how the names of graphs begin that need nothing but a sentence


def templates(state: ServerState) -> dict[str, str]:
    """The shipped workflows that this host can run, each with one line about it; from a prompt to a picture first."""
    runnable = usable(shipped(state.pack).values(), state)
    return dict(sorted(runnable.items(), key=lambda item: not item[0].startswith(FROM_A_PROMPT)))


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


ROUTES = [
    *both("GET", "/object_info", object_info),
    *both("GET", "/object_info/{name}", one_class),
    *both("GET", "/extensions", extensions),
    *both("GET", "/system_stats", system_stats),
    *both("GET", "/features", what_it_can),
    # The names are for scripts. The editor shows the cards, which have descriptions, and would show the names besides.
    web.get("/workflow_templates", template_names),
    web.get("/api/workflow_templates", constant({})),
    *both("GET", "/templates/index.json", template_cards),
    *both("GET", "/workflow_templates/{pack}/{file}", template_file),
    *both("GET", "/user.css", no_style),
    *both("GET", "/users", constant(USERS)),
    *both("GET", "/internal/logs", constant("")),
    *(route for path in EMPTY_LISTS for route in both("GET", path, constant([]))),
    *(route for path in EMPTY_OBJECTS for route in both("GET", path, constant({}))),
]
