"""What is in the JSON of a workflow file: a graph, a prompt, or a record of a run that holds both?"""

from __future__ import annotations

import json
from typing import Any

from .forms import WorkflowError
from .ui_graph import is_ui

DEEPEST = 100  # of lists and objects inside each other; the editor stays under 20
LONGEST_NUMBER = 400  # digits


def is_prompt(data: Any) -> bool:
    """Whether parsed JSON looks like an API prompt; what is wrong with a single node is for validation to say."""
    return isinstance(data, dict) and any(isinstance(item, dict) and "class_type" in item for item in data.values())


def both_forms(data: Any, name: str) -> tuple[Any, dict | None]:
    """The prompt and the graph in parsed JSON; at most one is None.

    Besides the two alone: {"workflow"}, {"output", "workflow"} as the editor makes them, the body of a request to a
    server, an entry of its queue or history, and a whole history of one run.
    """
    if is_ui(data):
        return None, data
    if isinstance(data, list):  # an entry of a queue: number, id, prompt, what else was sent, outputs
        return _of_entry(data) if len(data) >= 3 and is_prompt(data[2]) else (data, None)
    if not isinstance(data, dict) or is_prompt(data):
        return data, None
    if isinstance(data.get("prompt"), list):
        return both_forms(data["prompt"], name)
    prompt = next((data[key] for key in ("prompt", "output") if is_prompt(data.get(key))), None)
    ui = data.get("workflow") if is_ui(data.get("workflow")) else _ui_of(data.get("extra_data"))
    if prompt is not None or ui is not None:
        return prompt, ui
    runs = [item for item in data.values() if isinstance(item, dict) and isinstance(item.get("prompt"), list)]
    if len(runs) > 1:
        raise WorkflowError(f"{name} is a history of {len(runs)} runs: keep the one that you mean")
    return both_forms(runs[0], name) if runs else (data, None)


def _of_entry(entry: list) -> tuple[dict, dict | None]:
    return entry[2], _ui_of(entry[3]) if len(entry) > 3 else None


def _ui_of(extra: Any) -> dict | None:
    """The graph in what was sent along with a prompt."""
    info = extra.get("extra_pnginfo") if isinstance(extra, dict) else None
    ui = info.get("workflow") if isinstance(info, dict) else None
    return ui if is_ui(ui) else None


def parse(data: bytes | str, name: str) -> Any:
    """Parse JSON, refusing what no editor writes: keys given twice and absurd nesting. NaN is left to validation."""
    try:
        text = data.decode(encoding_of(data)) if isinstance(data, bytes) else data
        parsed = json.loads(text, object_pairs_hook=_unique, parse_int=_whole_number)
        shallow = _is_shallow(parsed)
    except _Twice as error:
        raise WorkflowError(f"{name}: the key {error.args[0]!r} appears twice in one object: keep one") from None
    except UnicodeDecodeError:
        raise WorkflowError(f"{name} is not text: a workflow is a JSON file, or a picture that carries one") from None
    except RecursionError:
        shallow = False
    except ValueError as error:
        raise WorkflowError(f"{name} is not JSON ({error}): save the workflow again") from None
    if not shallow:
        raise WorkflowError(f"{name} is nested more than {DEEPEST} levels deep: that is no workflow")
    return parsed


def encoding_of(data: bytes) -> str:
    """UTF-8, or what the first bytes say: UTF-16 and UTF-32 of either order, with a mark or without."""
    return "utf-8-sig" if data.startswith(b"\xef\xbb\xbf") else json.detect_encoding(data)


def _whole_number(text: str) -> int | float:
    """A whole number; one that is too long for any input is as good as infinite, and refused where it is used."""
    return int(text) if len(text) < LONGEST_NUMBER else float(text)


class _Twice(Exception):
    """A key that an object holds twice."""


def _unique(pairs: list[tuple[str, Any]]) -> dict:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise _Twice(key)
        result[key] = value
    return result


def _is_shallow(data: Any) -> bool:
    level = [data]
    for _ in range(DEEPEST):
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item if isinstance(item, list) else ())
        ]
        if not level:
            return True
    return False
