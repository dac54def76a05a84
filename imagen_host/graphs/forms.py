"""Has a value of a saved graph the form that it must have? If not: one line that names the place, in JSON's words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

SAVE_AGAIN = "save the graph from the editor again"
LONGEST = 80  # characters of a value that a message repeats
KINDS = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list", dict: "an object"}


class WorkflowError(ValueError):
    """The workflow itself is wrong; the message says where and what to do."""


def shown(value: Any) -> str:
    """A name or id as a message shows it: on one line, and not too long."""
    text = value if isinstance(value, str) else repr(value)
    if not text.isprintable():
        text = repr(text)[1:-1]
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def kind_of(value: Any) -> str:
    return "null" if value is None else KINDS.get(type(value), "something else")


def refuse(where: str, field: str, expected: str, value: Any) -> WorkflowError:
    return WorkflowError(f"{where}: {field} should be {expected}, not {kind_of(value)}: {SAVE_AGAIN}")


def take(data: dict, field: str, kinds: tuple[type, ...], where: str, default: Any = None) -> Any:
    """`data[field]` where it is of one of the kinds, `default` where it is missing or null. Raises WorkflowError."""
    value = data.get(field)
    if value is None:
        return default
    if type(value) not in kinds:
        raise refuse(where, shown(field), either(dict.fromkeys(KINDS[kind] for kind in kinds)), value)
    return value


def either(names: Iterable[str]) -> str:
    return " or ".join(names)


def as_list(value: Any, field: str, where: str = "the graph") -> list:
    """A list, where null and nothing are an empty one. Raises WorkflowError."""
    return take({field: value}, field, (list,), where, [])


def as_object(value: Any, field: str, where: str = "the graph") -> dict:
    if not isinstance(value, dict):
        raise refuse(where, field, "an object", value)
    return value


def as_id(value: Any, field: str, where: str) -> str:
    """A node's id: a whole number or a text."""
    if type(value) not in (int, str) or value == "":
        raise refuse(where, field, "a whole number or a text", value)
    return str(value)


def as_index(value: Any, field: str, where: str) -> int:
    """A number of a slot or link: whole, also when written as text, as old editors did."""
    if type(value) is str and value.strip().lstrip("-").isdecimal() and len(value) < 20:
        return int(value)
    if type(value) is float and value.is_integer():
        return int(value)
    if type(value) is not int:
        raise refuse(where, field, "a whole number", value)
    return value
