"""How do messages reach the editors while a prompt runs, without anybody being able to hold up the rest?

Every client has an outbox of its own, emptied by a task of its own. An unsent preview gives way to a newer one; of a client
that lags behind, so does what tells how far a prompt is, so that a graph of thousands of nodes does not bury a slow reader.
A client that still leaves LARGEST_OUTBOX bytes unread is cut off, and may come back; a dead one is, too, by the heartbeat.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import uuid
from collections import OrderedDict
from typing import Any

from aiohttp import WSCloseCode, web

from ..json_text import as_text

LAGGING = 200  # unsent messages from which on the newer supersedes the older
LARGEST_OUTBOX = 32 * 2**20  # bytes: what the pictures of a graph of 20,000 nodes come to is a quarter of it
OVERHEAD = 200  # bytes that a message takes beside its own
LONGEST_ID = 200
PREVIEW, PREVIEW_WITH_METADATA, JPEG = 1, 4, 1
SUPERSEDED = ("status", "progress", "progress_state", "executing")  # kinds of which, in a prompt, the newest counts


class Client:
    """One open websocket; `sid` is the clientId that prompts are queued under. Used on the event loop's thread only."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        self.socket, self.transport = socket, request.transport
        self.sid = request.query.get("clientId", "")[:LONGEST_ID] or uuid.uuid4().hex
        self.takes_metadata = False
        self.outbox: OrderedDict[object, tuple[str, str | bytes]] = OrderedDict()  # kind and message, by what they tell
        self.size = 0  # bytes of the outbox
        self.waiting = asyncio.Event()

    def post(self, kind: str, message: str | bytes, prompt_id: str | None = None) -> None:
        """Put a message into the outbox, in place of one that it supersedes."""
        lags = len(self.outbox) >= LAGGING
        about = (kind, prompt_id) if kind == "preview" or (lags and kind in SUPERSEDED) else object()
        self._take(about)
        self.outbox[about] = kind, message
        self.size += len(message) + OVERHEAD
        if self.size > LARGEST_OUTBOX:
            self.cut()
        self.waiting.set()

    def _take(self, about: object) -> str | bytes | None:
        """A message out of the outbox, if it is there."""
        _, message = self.outbox.pop(about, (None, None))
        if message is not None:
            self.size -= len(message) + OVERHEAD
        return message

    def cut(self) -> None:
        """End the connection without waiting for the other side."""
        self.outbox.clear()
        self.size = 0
        if self.transport is not None:
            self.transport.abort()

    async def deliver(self) -> None:
        """Send what is in the outbox for as long as the connection lives."""
        with contextlib.suppress(ConnectionError, RuntimeError):
            while not self.socket.closed:
                await self.waiting.wait()
                self.waiting.clear()
                while self.outbox:
                    message = self._take(next(iter(self.outbox)))
                    await (self.socket.send_str if isinstance(message, str) else self.socket.send_bytes)(message)

    def hear(self, text: str, max_upload_size: int) -> None:
        """Take what the client says; anything but its feature flags is ignored."""
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            return
        if not isinstance(message, dict) or message.get("type") != "feature_flags":
            return
        flags = message.get("data")
        self.takes_metadata = isinstance(flags, dict) and flags.get("supports_preview_metadata") is True
        self.post("feature_flags", text_message("feature_flags", features(max_upload_size)))


def features(max_upload_size: int) -> dict:
    """What this server tells a client that it supports."""
    return {
        "supports_preview_metadata": True,
        "max_upload_size": max_upload_size,
        "node_replacements": True,  # it is asked for them, and has none
        "assets": False,
    }


def text_message(kind: str, data: Any) -> str:
    return as_text({"type": kind, "data": data})


class Clients:
    """All open websockets. `send` and `send_preview` may be called from any thread and never wait."""

    def __init__(self) -> None:
        self.open: list[Client] = []
        self.loop: asyncio.AbstractEventLoop | None = None

    def send(self, kind: str, data: dict, sid: str | None = None) -> None:
        """Send a message to the clients called `sid`, or to all."""
        message = text_message(kind, data)
        self._on_loop(lambda: self._post(sid, kind, lambda client: message, data.get("prompt_id")))

    def send_preview(self, jpeg: bytes, metadata: dict, sid: str) -> None:
        """Send a picture in the making, in the form that each client asked for."""
        about = json.dumps({**metadata, "image_type": "image/jpeg"}).encode()
        new = struct.pack(">II", PREVIEW_WITH_METADATA, len(about)) + about + jpeg
        old = struct.pack(">II", PREVIEW, JPEG) + jpeg
        self._on_loop(lambda: self._post(sid, "preview", lambda client: new if client.takes_metadata else old))

    def knows(self, sid: str | None) -> bool:
        return any(client.sid == sid for client in self.open)

    def _post(self, sid: str | None, kind: str, message_for: Any, prompt_id: str | None = None) -> None:
        for client in list(self.open):
            if sid is None or client.sid == sid:
                client.post(kind, message_for(client), prompt_id)

    def _on_loop(self, task: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            if self.loop is not None:
                self.loop.call_soon_threadsafe(task)

    async def close(self) -> None:
        """Say goodbye to all; whoever does not answer is cut off."""
        closing = [client.socket.close(code=WSCloseCode.GOING_AWAY) for client in self.open]
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.gather(*closing, return_exceptions=True), timeout=0.5)
        for client in list(self.open):
            client.cut()
