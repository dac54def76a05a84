"""Workers that are ComfyUI servers, or `imagen serve`, by their address. Prompts go by HTTP, and pictures come so.

A prompt is followed by asking, not on the websocket: a server that was restarted, or a line that broke, then costs nothing
but the prompt that ran. Two prompts are with a server at a time, so that one runs while the other's pictures are fetched.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import threading
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from ..crew import Hire, JobFailed, Picture, Task, WorkerLost

AT_ONCE = 2  # prompts that are with one server
TIMEOUT = 30.0  # seconds for one answer
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0  # seconds between two questions whether a prompt is over
LOST_AFTER = 5  # questions to which the server neither has the prompt nor knows what became of it
GONE = (urllib.error.URLError, ConnectionError, TimeoutError, http.client.HTTPException)
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # servers are near, proxies are for far ones


def hires(addresses: list[str]) -> list[Hire]:
    return [functools.partial(ServerWorker, address) for address in addresses for _ in range(AT_ONCE)]


def object_info(addresses: list[str]) -> dict[str, dict]:
    """The node classes of the first server that answers. Raises ValueError when none does."""
    reasons = []
    for address in addresses:
        try:
            return ServerWorker(address).get("/object_info")
        except WorkerLost as error:
            reasons.append(str(error))
    raise ValueError(f"{'; '.join(reasons)}: start it, or name another with --server")


class ServerWorker:
    """One prompt at a time on one server."""

    def __init__(self, address: str) -> None:
        """Raises WorkerLost when nobody answers there, ValueError for what is no address."""
        parts = urllib.parse.urlsplit(address if "//" in address else f"http://{address}")
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError(f"--server {address!r:.80} is no address: expected one as http://127.0.0.1:8188")
        self.root = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self.name, self.prompt_id, self.stopped = parts.netloc, "", threading.Event()
        self.get("/prompt")

    def draw(self, task: Task) -> list[Picture]:
        self._queue(task)
        entry = self._followed(self.prompt_id)
        self.prompt_id = ""
        if entry.get("status", {}).get("status_str") != "success":
            raise JobFailed(_failure(entry))
        saved = [item for shown in entry["outputs"].values() for item in _files(shown)]
        return [(PurePosixPath(item["filename"]).suffix, self._fetch(item)) for item in saved]

    def close(self) -> None:
        """Take the prompt back that it has, and nobody else's."""
        self.stopped.set()
        self._take_back()

    def _take_back(self) -> None:
        prompt_id, self.prompt_id = self.prompt_id, ""
        if prompt_id:
            with contextlib.suppress(WorkerLost, JobFailed):
                self._post("/queue", {"delete": [prompt_id]})
                if prompt_id in _ids(self.get("/queue")["queue_running"]):
                    self._post("/interrupt", {"prompt_id": prompt_id})

    def get(self, path: str) -> Any:
        return self._read(self._asked(urllib.request.Request(self.root + path)))

    def _read(self, answer: bytes) -> Any:
        try:
            return json.loads(answer)
        except ValueError:
            raise WorkerLost(f"{self.name} does not answer as ComfyUI does") from None

    def _post(self, path: str, body: dict) -> bytes:
        headers = {"Content-Type": "application/json"}
        return self._asked(urllib.request.Request(self.root + path, json.dumps(body).encode(), headers))

    def _asked(self, request: urllib.request.Request) -> bytes:
        """The answer. Raises WorkerLost, and JobFailed with what the server says of a request that it refuses."""
        try:
            with DIRECT.open(request, timeout=TIMEOUT) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code != 429:
                raise JobFailed(f"{self.name} refuses it: {_refusal(error.read())}") from None
            raise WorkerLost(f"{self.name} answers {error.code}") from None
        except GONE as error:
            raise WorkerLost(f"{self.name} does not answer ({getattr(error, 'reason', error)})") from None

    def _queue(self, task: Task) -> None:
        """Raises JobFailed also where the server would do a part of the prompt."""
        extra = {"extra_pnginfo": {"workflow": task.graph}} if task.graph else {}
        body = {"prompt": task.prompt, "client_id": uuid.uuid4().hex, "extra_data": extra}
        told = self._read(self._post("/prompt", body))
        self.prompt_id = told["prompt_id"]
        if told.get("node_errors"):
            self._take_back()
            raise JobFailed(f"{self.name} refuses a part of it: {_reasons(told)}")

    def _followed(self, prompt_id: str) -> dict:
        """What the history says of a prompt, once it is over."""
        pause, missed = FIRST_PAUSE, 0
        while not self.stopped.wait(pause):
            pause = min(pause * 1.5, LONGEST_PAUSE)
            if (entry := self.get(f"/history/{prompt_id}").get(prompt_id)) is not None:
                return entry
            queued = self.get("/queue")
            there = prompt_id in _ids(queued["queue_running"] + queued["queue_pending"])
            missed = 0 if there else missed + 1
            if missed == LOST_AFTER:
                raise WorkerLost(f"{self.name} has lost the prompt: it was restarted, or somebody took it back")
        raise WorkerLost("stopped")

    def _fetch(self, item: dict) -> bytes:
        query = {key: item[key] for key in ("filename", "subfolder", "type") if key in item}
        return self._asked(urllib.request.Request(f"{self.root}/view?{urllib.parse.urlencode(query)}"))


def _ids(queued: list[list]) -> list[str]:
    return [item[1] for item in queued]


def _files(shown: dict) -> Iterator[dict]:
    """What a node saved, of what it shows."""
    for items in shown.values():
        for item in items if isinstance(items, list) else ():
            if isinstance(item, dict) and "filename" in item and item.get("type") == "output":
                yield item


def _failure(entry: dict) -> str:
    messages = dict(entry.get("status", {}).get("messages", []))
    error = messages.get("execution_error", {})
    if not error:
        return "somebody interrupted it"
    reason = " ".join(str(error.get("exception_message", "")).split())
    return f"node {error.get('node_id')} ({error.get('node_type')}) failed: {reason}"


def _refusal(body: bytes) -> str:
    """The reasons in the answer to a prompt that is refused, in one line."""
    try:
        return _reasons(json.loads(body))
    except (ValueError, KeyError, TypeError, AttributeError):
        return body[:200].decode(errors="replace") or "no reason given"


def _reasons(told: dict) -> str:
    errors = [error for node in told.get("node_errors", {}).values() for error in node["errors"]] or [told["error"]]
    texts = [error if isinstance(error, str) else f"{error['message']}: {error['details']}" for error in errors]
    return "; ".join(texts)
