"""What does a node class say about itself and its inputs?"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

CASTS = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}
WIDGET_TYPES = (*CASTS, "COMBO")
SECTIONS = ("required", "optional")


@dataclass(frozen=True)
class InputSpec:
    """One declared input; `spec` is what INPUT_TYPES gives for it: (type or choices, options)."""

    name: str
    spec: Any
    required: bool

    @property
    def kind(self) -> Any:
        """The socket type, or the list of choices of a combo in the old form."""
        return self.spec[0]

    @cached_property
    def options(self) -> dict:
        return options_of(self.spec)

    @cached_property
    def choices(self) -> list | None:
        """What a combo offers; None when the input is no combo."""
        return choices_of(self.spec)

    @property
    def lazy(self) -> bool:
        """Whether it is evaluated only when the node asks for it."""
        return bool(self.options.get("lazy"))

    @property
    def raw_link(self) -> bool:
        """Whether the node wants the link itself, [node id, output number], and not what comes through it."""
        return bool(self.options.get("rawLink"))


class Declared:
    """A node class: its inputs by name, its hidden inputs (name to kind), and what the engine asks of it."""

    def __init__(self, cls: type) -> None:
        declared = self.input_types = cls.INPUT_TYPES()
        self.cls = cls
        self.inputs = {name: InputSpec(name, spec, required) for name, spec, required in input_specs(declared)}
        self.hidden: dict[str, Any] = declared.get("hidden", {})
        self.outputs: tuple = tuple(getattr(cls, "RETURN_TYPES", ()))
        self.takes = accepts(getattr(cls, getattr(cls, "FUNCTION", ""), None))

    @cached_property
    def is_output(self) -> bool:
        return bool(getattr(self.cls, "OUTPUT_NODE", False))

    @cached_property
    def is_async(self) -> bool:
        return inspect.iscoroutinefunction(getattr(self.cls, getattr(self.cls, "FUNCTION", ""), None))

    @cached_property
    def reads_its_id(self) -> bool:
        """Whether two nodes of this class may differ although their inputs do not."""
        return bool(getattr(self.cls, "NOT_IDEMPOTENT", False)) or "UNIQUE_ID" in self.hidden_kinds

    @cached_property
    def follows_links(self) -> bool:
        """Whether it sees the graph itself, and may build another that refers to any part of it."""
        return "DYNPROMPT" in self.hidden_kinds or any(spec.raw_link for spec in self.inputs.values())

    @property
    def hidden_kinds(self) -> list[str]:
        return [kind for kind in self.hidden.values() if isinstance(kind, str)]

    def takes_link(self, name: str) -> bool:
        """Whether a linked input arrives: declared ones do, others when the function has a parameter for them."""
        return name in self.inputs or name in self.hidden or self.takes(name)


def input_specs(inputs: dict) -> Iterator[tuple[str, Any, bool]]:
    """Name, specification and whether it is required, of every input that INPUT_TYPES declares."""
    for section in SECTIONS:
        for name, spec in inputs.get(section, {}).items():
            yield name, spec, section == "required"


def accepts(function: Callable | None) -> Callable[[str], bool]:
    """Whether a function takes an argument of that name."""
    try:
        parameters = inspect.signature(function).parameters if function else {}
    except (TypeError, ValueError):  # written in C
        parameters = {}
    takes_all = any(item.kind is item.VAR_KEYWORD for item in parameters.values())
    names = {name for name, item in parameters.items() if item.kind in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY)}
    return lambda name: takes_all or name in names


def is_widget(spec: list | tuple) -> bool:
    """Whether the editor gives an input of this specification a widget, and so a place in widgets_values."""
    options = options_of(spec)
    kind = options.get("widgetType") or spec[0]
    return not options.get("forceInput") and (isinstance(kind, (list, tuple)) or kind in WIDGET_TYPES)


def options_of(spec: list | tuple) -> dict:
    return spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}


def choices_of(spec: list | tuple) -> list | None:
    """The values that a combo offers, or None when the input is no combo."""
    if isinstance(spec[0], (list, tuple)):
        return list(spec[0])
    return list(options_of(spec).get("options", [])) if spec[0] == "COMBO" else None
