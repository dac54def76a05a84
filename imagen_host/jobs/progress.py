"""Which messages does a running prompt send, and what of them stays in its history?

The names, order and data are those of ComfyUI's websocket.
"""

from __future__ import annotations

import io
import json
from collections import deque
from typing import Any

from .listeners import Listeners

MOST_FINISHED = 40  # nodes that a message of progress still lists: each goes with every message
KEPT = ("execution_start", "execution_cached", "execution_success", "execution_error", "execution_interrupted")


class Announcer:
    """Takes one prompt's events from the engine and tells its client; an interruption is told to everybody."""

    def __init__(self, listeners: Listeners, prompt_id: str, sid: str | None) -> None:
        self.listeners, self.prompt_id, self.sid = listeners, prompt_id, sid
        self.kept: list[tuple[str, dict]] = []
        self.nodes: dict[str, dict] = {}
        self.finished: deque[str] = deque()
        self.inner: dict[str, dict] = {}  # nodes that others expanded into, by id
        self.executing: dict | None = None

    def __call__(self, kind: str, data: dict) -> None:
        if kind in KEPT:
            self.kept.append((kind, data))
        if kind == "finished":
            return self._finish(data["node"])
        if kind == "expanded":
            return self.inner.update(data["nodes"])
        if kind == "blocked":  # an error on the node, of which the history, as ComfyUI's, knows nothing
            return self._tell("execution_error", data)
        if kind == "executing":
            self.executing = data
            self._progress(data["node"], 0, 1, "running")
        elif kind == "progress":
            data = dict(data)
            self._step(data, data.pop("preview"))
        elif kind == "executed":
            data = {**data, "output": as_json(data["output"])}
        self._tell(kind, data, everybody=kind == "execution_interrupted")

    def _step(self, data: dict, preview: tuple[str, Any, int] | None) -> None:
        """What goes ahead of a progress message: the state of all nodes, and a preview."""
        if data["node"] is not None:
            self._progress(data["node"], data["value"], data["max"], "running")
            if preview is not None:
                self._preview(data["node"], *preview)

    def _finish(self, node: str) -> None:
        total = self.nodes.get(node, {}).get("max", 1)
        self._progress(node, total, total, "finished")
        self.finished.append(node)
        if len(self.finished) > MOST_FINISHED:
            self.nodes.pop(self.finished.popleft(), None)

    def _progress(self, node: str, value: int, total: int, state: str) -> None:
        self.nodes[node] = {"value": value, "max": total, "state": state, **self._names(node)}
        self._tell("progress_state", {"prompt_id": self.prompt_id, "nodes": self.nodes})

    def _names(self, node: str) -> dict:
        names = self.inner.get(node, {"display_node": node, "parent_node": None, "real_node_id": node})
        shown, parent = names["display_node"], names["parent_node"]
        about = {
            "node_id": node,
            "display_node_id": shown,
            "parent_node_id": parent,
            "real_node_id": names["real_node_id"],
        }
        return {**about, "prompt_id": self.prompt_id}

    def _preview(self, node: str, form: str, picture: Any, longest: int) -> None:
        """Encoded here, on the engine's thread, and only when somebody looks."""
        if self.sid is None or not self.listeners.knows(self.sid):
            return
        picture = picture.convert("RGB")
        picture.thumbnail((longest, longest))
        with io.BytesIO() as file:
            picture.save(file, format="JPEG", quality=90)
            self.listeners.send_preview(file.getvalue(), self._names(node), self.sid)

    def _tell(self, kind: str, data: dict, everybody: bool = False) -> None:
        if everybody:
            self.listeners.send(kind, data)
        elif self.sid is not None:
            self.listeners.send(kind, data, self.sid)


def as_json(shown: dict | None) -> dict | None:
    """What nodes show, as it survives JSON: what JSON cannot say becomes text, and so does all of it when it has no end."""
    try:
        return json.loads(json.dumps(shown, default=str, skipkeys=True), parse_constant=str)
    except (ValueError, RecursionError):
        return {str(key): [f"{type(value).__name__} that is no JSON"] for key, value in shown.items()}
