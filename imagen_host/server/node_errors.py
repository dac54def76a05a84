"""How much of what is wrong with a prompt is told? Enough to mend it, never many times the prompt."""

from __future__ import annotations

import json
from typing import Any

MOST_NODES = 100
MOST_ERRORS = 300  # of all nodes together
MOST_OUTPUTS = 20  # that are said to depend on a node
LONGEST_TEXT = 500  # characters of a message
LARGEST_VALUE = 1000  # characters of a value that is sent back


def bounded(error: dict | None, node_errors: dict[str, dict]) -> tuple[dict | None, dict[str, dict]]:
    """The same error and errors of nodes, with the first of each and long ones cut; the error says how many are left out."""
    shown, left = {}, MOST_ERRORS
    for node in list(node_errors)[:MOST_NODES]:
        if left <= 0:
            break
        about = node_errors[node]
        kept = [_cut(item) for item in about["errors"][:left]]
        left -= len(kept)
        shown[_text(node)] = {
            "errors": kept,
            "dependent_outputs": [_text(output) for output in about["dependent_outputs"][:MOST_OUTPUTS]],
            "class_type": _text(about["class_type"]),
        }
    if error is not None:
        error = _cut(error)
        if hidden := len(node_errors) - len(shown):
            told = f"the first {len(shown)} of {len(shown) + hidden} nodes with errors are shown"
            error["details"] = f"{error['details']}; {told}" if error["details"] else told
    return error, shown


def _cut(error: dict) -> dict:
    extra = {key: _value(value) for key, value in error["extra_info"].items()}
    return {**error, "message": _text(error["message"]), "details": _text(error["details"]), "extra_info": extra}


def _value(value: Any) -> Any:
    """A value that is sent back: itself when it is short, else the beginning of its text."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return _text(value)
    text = json.dumps(value, default=str)
    return value if len(text) <= LARGEST_VALUE else _text(text)


def _text(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}..."
