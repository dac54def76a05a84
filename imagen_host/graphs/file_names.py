"""What does a file name become whose tokens name a date or another node's widget, as the editor writes it?

`%date:yyyy-MM-dd%` is the time of the run, `%Title.widget%` the value of a widget; the node is named as its class or by
its title. `%width%` and the like are for the one who saves. What names nothing stays as it is.
"""

from __future__ import annotations

import datetime
import decimal
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .classes import FILE_NAME, Classes, NodeClass, of_info

TOKEN = re.compile("%([^%]+)%")
UNSAFE = re.compile(r'[/?<>\\:*|"\x00-\x1f\x7f]')  # in a value that becomes part of a name
DATE = re.compile("dd?|MM?|hh?|mm?|ss?|yyy?y?")


@dataclass(frozen=True, kw_only=True)
class CanvasNode:
    """A node that a token may name: by `alias` (its class, mostly) or `title`."""

    id: str
    type: str
    title: str | None
    alias: Any = None
    values: dict[str, Any] = field(default_factory=dict)


class FileNames:
    """The file names of one prompt before their tokens are filled in, and the nodes that tokens may name.

    `texts` are other inputs, by node and name, that a PrimitiveNode feeds with "Run widget replace on values".
    """

    def __init__(
        self,
        nodes: Iterable[CanvasNode],
        prompt: dict,
        classes: Mapping[str, NodeClass],
        texts: Iterable[tuple[str, str]] = (),
    ) -> None:
        self.nodes = list(nodes)
        savers = [(key, FILE_NAME) for key, entry in prompt.items() if _saves(entry, classes)]
        self.raw = {(key, name): prompt[key]["inputs"].get(name) for key, name in [*savers, *texts]}

    def change(self, node: str, name: str, value: Any) -> None:
        """Take note of a new constant in an input."""
        if (node, name) in self.raw:
            self.raw[node, name] = value
        for found in self.nodes:
            if found.id == node:
                found.values[name] = value

    def fill(self, prompt: dict, now: datetime.datetime | None = None) -> None:
        """Write the file names into the prompt."""
        now = now or datetime.datetime.now()
        for (key, name), raw in self.raw.items():
            if isinstance(raw, str):
                prompt[key]["inputs"][name] = self.filled(raw, now)

    def filled(self, text: str, now: datetime.datetime) -> str:
        return TOKEN.sub(lambda token: self._token(token[1], token[0], now), text)

    def _token(self, inside: str, whole: str, now: datetime.datetime) -> str:
        name, *rest = inside.split(".")
        if len(rest) != 1:
            return date_text(name[5:], now) if name.startswith("date:") else whole
        node = self._find(name)
        if node is None:  # where the editor would leave a date with one dot as it is, which no one wants as a folder
            return date_text(inside[5:], now) if name.startswith("date:") else whole
        return UNSAFE.sub("_", js_text(node.values[rest[0]])) if rest[0] in node.values else whole

    def _find(self, name: str) -> CanvasNode | None:
        by_alias = (node for node in self.nodes if node.alias == name)
        return next(by_alias, None) or next((node for node in self.nodes if node.title == name), None)


def _saves(entry: dict, classes: Mapping[str, NodeClass]) -> bool:
    cls = classes.get(entry["class_type"])
    return cls is not None and cls.is_saver


def of_prompt(prompt: dict, object_info: Mapping[str, dict] | Classes) -> FileNames:
    """The file names of a prompt that no graph came with: tokens name its nodes by class or title."""
    classes = of_info(object_info)
    whole = {key: entry for key, entry in prompt.items() if _is_whole(entry)}
    nodes = [
        CanvasNode(
            id=key,
            type=entry["class_type"],
            title=_title(entry, classes),
            alias=None if _saves(entry, classes) else entry["class_type"],
            values=dict(entry["inputs"]),
        )
        for key, entry in whole.items()
    ]
    return FileNames(nodes, whole, classes)


def _is_whole(entry: Any) -> bool:
    """Whether an entry of a prompt has the form that validation asks for."""
    return (
        isinstance(entry, dict) and isinstance(entry.get("class_type"), str) and isinstance(entry.get("inputs"), dict)
    )


def _title(entry: dict, classes: Mapping[str, NodeClass]) -> Any:
    meta = entry.get("_meta")
    title = meta.get("title") if isinstance(meta, dict) else None
    cls = classes.get(entry["class_type"])
    return title or (cls.display_name if cls else None)


def date_text(form: str, now: datetime.datetime) -> str:
    """The date in the editor's own format: d M h m s, once or twice, yy and yyyy; the rest stays as it is."""
    parts = {"d": now.day, "M": now.month, "h": now.hour, "m": now.minute, "s": now.second}
    years = {"yy": f"{now.year}"[2:], "yyyy": f"{now.year}"}

    def part(found: re.Match) -> str:
        text = found[0]
        return str(parts[text[0]]).zfill(len(text)) if text[0] in parts else years.get(text, text)

    return DATE.sub(part, form)


def js_text(value: Any) -> str:
    """A value as JavaScript writes it: 3 for 3.0, true for True, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return js_number(value)
    if isinstance(value, list):
        return ",".join(js_text(item) for item in value)
    return value if isinstance(value, str) else "[object Object]"


def js_number(value: float) -> str:
    if isinstance(value, int) and abs(value) < 10**21:
        return str(value)
    try:
        value = float(value)
    except OverflowError:
        value = math.copysign(math.inf, value)
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    if 1e-6 <= abs(value) < 1e21:
        return format(decimal.Decimal(repr(value)), "f")
    mantissa, _, exponent = repr(value).partition("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent):+d}"
