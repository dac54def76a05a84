"""What is the picture of a job called? As a template says: {index}, {key}, {line}, or a column of the job's row."""

from __future__ import annotations

import re
import string
from collections.abc import Collection, Mapping
from typing import Any

DEFAULT = "{index:05}_{key:.8}"
OWN = ("index", "key", "line")
UNSAFE = re.compile(r'[/?<>\\:*|"\x00-\x1f\x7f]')  # in a value that becomes part of a name
LONGEST = 200  # bytes of one part of a path; most systems stop at 255, and a number and an ending are added


def fields_of(template: str, columns: Collection[str]) -> list[str]:
    """The fields of a template. Raises ValueError for one that is neither ours nor a column, and for a bad form."""
    try:
        fields = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise ValueError(f"--name {template!r:.80}: {error}") from None
    if unknown := [name for name in fields if name not in (*OWN, *columns)]:
        known = ", ".join(f"{{{name}}}" for name in (*OWN, *columns))
        raise ValueError(f"--name {template!r:.80}: nothing is called {{{unknown[0]}}}; there are {known}")
    return fields


def name_of(template: str, values: Mapping[str, Any]) -> str:
    """The path of a job's picture below the output folder, without its ending. Raises ValueError."""
    safe = {name: UNSAFE.sub("_", value) if isinstance(value, str) else value for name, value in values.items()}
    try:
        name = _Plain().vformat(template, (), safe)
    except (ValueError, TypeError) as error:
        raise ValueError(f"--name {template!r:.80}: {error}") from None
    parts = name.split("/")
    if any(part.strip(" .") == "" or len(part.encode()) > LONGEST for part in parts):
        raise ValueError(
            f"--name {template!r:.80} makes {name!r:.60}, which is no file name: use names of 1 to {LONGEST} bytes, "
            "such as {prompt:.60}"
        )
    return "/".join(part.rstrip(" .") for part in parts)


class _Plain(string.Formatter):
    """Fields are looked up as they stand: a column may be called "7.seed"; what a row lacks is empty."""

    def get_field(self, field_name: str, args: Any, kwargs: Mapping[str, Any]) -> tuple[Any, str]:
        return kwargs.get(field_name, ""), field_name
