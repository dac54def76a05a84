"""Who is told what a queue does? A server's websockets, a batch's progress, or nobody."""

from __future__ import annotations

from typing import Protocol


class Listeners(Protocol):
    """Called from the queue's thread and from those that change the queue; must not wait."""

    def send(self, kind: str, data: dict, sid: str | None = None) -> None:
        """A message of ComfyUI's websocket, for the listener called `sid`, or for all."""

    def send_preview(self, jpeg: bytes, metadata: dict, sid: str) -> None:
        """A picture in the making."""

    def knows(self, sid: str | None) -> bool:
        """Whether a listener of that name is there: previews are encoded for somebody only."""
