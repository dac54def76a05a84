"""What does a node class say about itself and its inputs? Read once: from the class, or from its /object_info."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

CASTS = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}
WIDGET_TYPES = (*CASTS, "COMBO")
SECTIONS = ("required", "optional")


@dataclass(frozen=True)
class InputSpec:
    """One declared input; `spec` is what INPUT_TYPES gives for it: (type or choices, options)."""

    name: str  # as in a prompt's "inputs"
    spec: Any  # what INPUT_TYPES gives for it: (type or choices, options)
    required: bool  # whether a prompt without it is refused

    @property
    def kind(self) -> Any:
        """The socket type, or the list of choices of a combo in the old form."""
        return self.spec[0]

    @property
    def socket(self) -> str:
        """The socket type as a graph has it."""
        return "COMBO" if self.choices is not None else str(self.kind)

    @cached_property
    def options(self) -> dict:
        return self.spec[1] if len(self.spec) > 1 and isinstance(self.spec[1], dict) else {}

    @cached_property
    def choices(self) -> list | None:
        """What a combo offers, a list of a class of its own as it is; None when the input is no combo."""
        if isinstance(self.kind, (list, tuple)):
            return self.kind if isinstance(self.kind, list) else list(self.kind)
        return list(self.options.get("options", [])) if self.kind == "COMBO" else None

    @property
    def default(self) -> Any:
        """What a new node shows for it, or None where nothing is known."""
        return self.options.get("default", self.choices[0] if self.choices else None)

    @property
    def forced(self) -> bool:
        """Whether it takes only a link although its type has a widget."""
        return bool(self.options.get("forceInput"))

    @cached_property
    def is_widget(self) -> bool:
        """Whether the editor gives it a widget, and so a place in widgets_values."""
        kind = self.options.get("widgetType") or self.kind
        return not self.forced and (isinstance(kind, (list, tuple)) or kind in WIDGET_TYPES)

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
        self.inputs = input_specs(declared)
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


def input_specs(inputs: Mapping[str, Mapping[str, Any]], order: Mapping[str, list[str]] = {}) -> dict[str, InputSpec]:
    """Every input that INPUT_TYPES declares, by name; `order` lists the names of a section, for JSON may lose theirs."""
    return {
        name: InputSpec(name, inputs[section][name], section == "required")
        for section in SECTIONS
        for name in order.get(section, inputs.get(section, {}))
    }


def accepts(function: Callable | None) -> Callable[[str], bool]:
    """Whether a function takes an argument of that name."""
    try:
        parameters = inspect.signature(function).parameters if function else {}
    except (TypeError, ValueError):  # written in C
        parameters = {}
    takes_all = any(item.kind is item.VAR_KEYWORD for item in parameters.values())
    names = {name for name, item in parameters.items() if item.kind in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY)}
    return lambda name: takes_all or name in names
