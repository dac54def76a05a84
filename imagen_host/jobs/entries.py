"""What is a prompt that was queued, what is kept of it when it ended, and how does the list of jobs show both?"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..json_text import MOST_VALUES, as_text
from ..validation import finite

PREVIEWED = ("images", "video", "audio", "3d", "text")
ENDED = {"execution_success": "completed", "execution_error": "failed", "execution_interrupted": "cancelled"}


@dataclass(kw_only=True, eq=False)
class Job:
    """A checked prompt. A lower `number` runs earlier; `size` is that of its request, in bytes."""

    number: float
    prompt_id: str
    prompt: dict
    outputs: list[str]
    extra_data: dict = field(default_factory=dict)
    size: int = 0

    @property
    def sid(self) -> str | None:
        return self.extra_data.get("client_id")

    @cached_property
    def text(self) -> bytes:
        """The JSON that /queue and the history show; made once, because a graph may be large."""
        return as_text([self.number, self.prompt_id, self.prompt, self.extra_data, self.outputs]).encode()

    def shown(self, status: str) -> dict:
        """The job as the list of jobs shows it while it waits or runs."""
        about = {"id": self.prompt_id, "status": status, "outputs_count": 0}
        return {**about, **_origin(self.number, self.extra_data)}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One prompt's history: `text` is the JSON that /history shows, `job` the entry of /jobs."""

    text: bytes
    job: dict

    def data(self) -> dict:
        """The entry as an object; takes as long as it is large."""
        return json.loads(self.text)


def make(job: Job, more: dict) -> Entry:
    """The entry of a job that ended: `more` is all that is in it besides the prompt."""
    text = b'{"prompt": ' + job.text + b", " + as_text(more).encode()[1:]
    return Entry(text=text, job=_ended(job.prompt_id, job.number, job.extra_data, more))


def line_of(prompt_id: str, entry: Entry | None) -> bytes:
    """The line of the file that keeps an entry, or that takes it back."""
    return b"[" + as_text(prompt_id).encode() + b", " + (b"null" if entry is None else entry.text) + b"]"


def read_line(line: bytes) -> tuple[str, Entry | None]:
    """The id and the entry of a line. Raises ValueError for what is none."""
    _need(line.count(b",") <= 2 * MOST_VALUES, "more values than any entry has")
    try:
        parsed = json.loads(line)
    except RecursionError:
        raise ValueError("nested deeper than any entry") from None
    _need(isinstance(parsed, list) and len(parsed) == 2 and isinstance(parsed[0], str), "not [id, entry]")
    prompt_id, data = parsed
    if data is None:
        return prompt_id, None
    _check(data)
    number, _, _, extra, _ = data["prompt"]
    return prompt_id, Entry(text=as_text(data).encode(), job=_ended(prompt_id, number, extra, data))


def _need(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < math.inf


def _is_message(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 2 or not isinstance(value[0], str):
        return False
    time = value[1].get("timestamp") if isinstance(value[1], dict) else "none"
    return time is None or _is_number(time)


def _check(data: Any) -> None:
    """Raise ValueError unless all that is shown of an entry is there and of its type."""
    _need(isinstance(data, dict), "the entry is no object")
    item, status, outputs = (data.get(key) for key in ("prompt", "status", "outputs"))
    _need(isinstance(item, list) and len(item) == 5, "its prompt is not a list of five")
    number, prompt_id, prompt, extra, wanted = item
    _need(_is_number(number) and isinstance(prompt_id, str), "its prompt has no number and id")
    _need(isinstance(prompt, dict) and isinstance(extra, dict) and isinstance(wanted, list), "its prompt has no graph")
    _need(_is_number(extra.get("create_time", 0)), "its time is no number")
    _need(isinstance(status, dict) and isinstance(status.get("messages"), list), "it has no messages")
    _need(all(map(_is_message, status["messages"])), "one of its messages is none")
    _need(isinstance(outputs, dict) and all(isinstance(ui, dict) for ui in outputs.values()), "its outputs are none")
    parts = (prompt, extra, wanted, outputs, status, data.get("meta"))
    _need(all(map(finite, parts)), "a number that is not finite, or endless nesting")
    data.setdefault("meta", {})


def _origin(number: float, extra: dict) -> dict:
    """Where a job comes from: `workflow_id` is the id that the editor gave the graph."""
    about = {"create_time": extra.get("create_time", 0), "priority": number, "previewable_outputs_count": 0}
    graph = extra.get("extra_pnginfo")
    graph = graph.get("workflow") if isinstance(graph, dict) else None
    workflow_id = graph.get("id") if isinstance(graph, dict) else None
    return about | ({"workflow_id": workflow_id} if isinstance(workflow_id, str) else {})


def _ended(prompt_id: str, number: float, extra: dict, data: dict) -> dict:
    """The entry of /jobs."""
    messages = dict(data["status"]["messages"])
    end = next((kind for kind in ENDED if kind in messages), "execution_error")
    shown = list(_shown(data["outputs"]))
    job = {
        "id": prompt_id,
        "status": ENDED[end],
        **_origin(number, extra),
        "execution_start_time": messages.get("execution_start", {}).get("timestamp"),
        "execution_end_time": messages.get(end, {}).get("timestamp"),
        "outputs_count": len(shown),
        "previewable_outputs_count": sum(item["mediaType"] in PREVIEWED for item in shown),
    }
    if shown:  # what is kept is shown before what is only looked at
        job["preview_output"] = next((item for item in shown if item.get("type") == "output"), shown[0])
    if end == "execution_error":
        job["execution_error"] = messages.get(end)
    return job


def _shown(outputs: dict) -> Iterator[dict]:
    """The files that nodes show."""
    for node, ui in outputs.items():
        for kind, items in ui.items():
            for item in items if isinstance(items, list) else ():
                if isinstance(item, dict) and "filename" in item:
                    yield {**item, "nodeId": node, "mediaType": kind}
