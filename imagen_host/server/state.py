"""What do all routes of one server share?"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..registry import Registry
from ..runtime import Runtime

if TYPE_CHECKING:
    from .queue import PromptQueue
    from .websocket import Clients

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
    clients: Clients = field(init=False)  # set by create_app
    queue: PromptQueue = field(init=False)
