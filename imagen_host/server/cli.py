"""What does `imagen serve` do? It opens the graph editor in the browser, on this machine's engine."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import threading
import webbrowser
from typing import NoReturn

from ..streams import say

PORT = 8188  # ComfyUI's own, which its tools try first


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add `serve` to the command line; needs nothing installed until it is used."""
    serve = commands.add_parser("serve", help="open the graph editor in the browser")
    add = serve.add_argument
    add(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (default: 127.0.0.1, this machine only)"
    )
    add("--port", type=int, default=PORT, metavar="N", help=f"default: {PORT}; 0 takes a free one")
    add("--out", default="output", metavar="DIR", help="where pictures go (default: ./output)")
    add("--input", action="append", default=[], metavar="DIR", help="where LoadImage looks first (default: ./input)")
    add("--models", action="append", default=[], metavar="DIR", help="a folder with model files; may be repeated")
    add("--user-dir", default="user", metavar="DIR", help="saved workflows, settings, history (default: ./user)")
    add("--frontend", metavar="DIR", help="another editor than the installed comfyui-frontend-package")
    add("--open", action=argparse.BooleanOptionalAction, default=has_display(), help="open the browser")
    add("--debug", action="store_true", help="show the traceback of a failure")
    serve.set_defaults(handler=run_server)


def has_display() -> bool:
    """Whether a browser that is started would be seen."""
    return sys.platform in ("win32", "darwin") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def run_server(options: argparse.Namespace) -> NoReturn:
    """`imagen serve`: serve until Ctrl-C, then end the process. Raises ValueError for what is missing or cannot be used."""
    if importlib.util.find_spec("aiohttp") is None:
        raise ValueError("the editor's server needs aiohttp: run `pip install -e '.[editor]'`, or `make editor`")
    import asyncio

    from ..folders import make_host, scratch_folder, sweep_below, writable
    from ..registry import load_registry, pack_folder
    from .app import create_app, listen, serve
    from .frontend import find_frontend
    from .security import warning_for
    from .state import ServerState

    def ready(address: str) -> None:
        print(f"The editor is at {address}   (Ctrl-C ends it)", flush=True)
        if options.open:
            threading.Thread(target=webbrowser.open, args=[address], daemon=True).start()

    frontend = find_frontend(options.frontend)
    user_directory = writable(options.user_dir, "the folder for workflows and settings", "--user-dir")
    listener = listen(options.host, options.port)  # before the nodes are loaded, which takes seconds
    with scratch_folder() as temporary:
        host = make_host(options, temporary)
        sweep_below(host.input_directories[0])
        state = ServerState(
            registry=load_registry(),
            host=host,
            pack=pack_folder(),
            user_directory=user_directory,
            frontend=frontend,
            host_names=ServerState.host_names | {options.host},
        )
        if warning := warning_for(options.host):
            say(warning)
        asyncio.run(serve(create_app(state), listener, ready))
    sys.stdout.flush()
    os._exit(0)  # all is closed; taking torch apart would take longer, and a long step cannot be waited for
