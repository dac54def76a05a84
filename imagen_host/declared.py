"""What does a node class say about itself and its inputs? Read once a class and run: INPUT_TYPES may search folders."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .registry import SECTIONS, choices_of, options_of


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
        declared = cls.INPUT_TYPES()
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


class Declarations(dict[str, Declared]):
    """The classes of a registry by id, each read when it is first asked for. Good for one run: lists of files change."""

    def __init__(self, classes: Mapping[str, type]) -> None:
        self.classes = classes

    @cached_property
    def output_types(self) -> set[str]:
        """The types that outputs of any class have."""
        kinds = (kind for cls in self.classes.values() for kind in getattr(cls, "RETURN_TYPES", ()))
        return {part.strip() for kind in kinds if isinstance(kind, str) for part in kind.split(",")}

    def __missing__(self, kind: str) -> Declared:
        self[kind] = Declared(self.classes[kind])
        return self[kind]


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
