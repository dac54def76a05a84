"""What do all routes of one server share?"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from ..execution.engine import Engine
from ..jobs.history import History
from ..jobs.queue import PromptQueue
from ..registry import Registry
from ..runtime import Runtime
from .clients import Clients
from .settings_file import Settings

MEBIBYTE = 2**20


@dataclass(kw_only=True, eq=False)
class ServerState:
    """One server's folders, limits (bytes) and running parts.

    `frontend` is the folder that holds the editor's index.html, `pack` the folder of the node pack; settings, saved
    workflows and the history are in `user_directory`. A request's Host must name one of `host_names` (without port).
    """

    registry: Registry
    host: Runtime
    pack: Path
    user_directory: Path
    frontend: Path
    host_names: frozenset[str] = frozenset({"127.0.0.1", "localhost", "[::1]"})
    max_upload_size: int = 100 * MEBIBYTE
    max_body_size: int = 32 * MEBIBYTE  # of a prompt, a saved workflow, settings
    numbers: Iterator[int] = field(init=False, default_factory=lambda: itertools.count(1))  # of prompts as they come
    checker: ThreadPoolExecutor = field(  # one thread: prompts keep their order
        init=False, default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="imagen-checker")
    )
    clients: Clients = field(init=False, default_factory=Clients)
    queue: PromptQueue = field(init=False)
    settings: Settings = field(init=False)

    def __post_init__(self) -> None:
        history = History(self.user_directory / "history.jsonl")
        self.queue = PromptQueue(Engine(self.registry, self.host), self.clients, history)
        self.settings = Settings(self.user_directory)


STATE = web.AppKey("state", ServerState)


def state_of(request: web.Request) -> ServerState:
    """The state of the server that answers a request."""
    return request.app[STATE]
