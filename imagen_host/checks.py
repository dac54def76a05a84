"""What is wrong with one node of a prompt? Error types and the shape of an error are ComfyUI's, for its editor to show."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

from .declared import CASTS, InputSpec, accepts
from .execution.awaiting import Awaiter
from .execution.calls import call, gather_inputs
from .execution.graph import Graph
from .graphs.forms import kind_of, shown
from .registry import jsonable

LONGEST_CONFIG = 20  # choices that an error repeats
DEEPEST = 100  # of lists and objects inside one constant


def problem(kind: str, message: str, details: str = "", **extra: Any) -> dict:
    """One error as ComfyUI words it to its editor."""
    return {"type": kind, "message": message, "details": details, "extra_info": extra}


class NodeCheck:
    """The checks of one node; a value is cast in the prompt as it passes."""

    def __init__(self, node: str, graph: Graph, awaiter: Awaiter) -> None:
        self.node, self.graph, self.awaiter = node, graph, awaiter
        self.declared = graph.declared(node)
        self.inputs = graph.get_node(node)["inputs"]
        self.own = getattr(self.declared.cls, "VALIDATE_INPUTS", None)
        self.takes: Callable[[str], bool] = accepts(self.own)
        self.own_types = self.own is not None and "input_types" in inspect.signature(self.own).parameters
        self.received: dict[str, Any] = {}  # the types of linked inputs

    def errors(self) -> list[dict]:
        """Everything that is wrong; the class's own check is asked only when nothing else is."""
        found: list[dict] = []
        for name, spec in self.declared.inputs.items():
            try:
                found += self._input_errors(name, spec)
            except Exception as error:  # a class with a broken declaration
                text = f"{name}: {error}"
                found.append(problem("exception_during_inner_validation", "checking this input failed", text))
        for name, value in self.inputs.items():
            if name not in self.declared.inputs and isinstance(value, list) and self.declared.takes_link(name):
                found += self._link_form_errors(name, value)
        return found or self._own_errors()

    def _input_errors(self, name: str, spec: InputSpec) -> list[dict]:
        if name not in self.inputs:
            hint = f"connect or set {name}"
            missing = problem("required_input_missing", "a required input is missing", hint, input_name=name)
            return [missing] if spec.required else []
        value = self.inputs[name]
        if isinstance(value, list):
            return self._link_errors(name, spec, value)
        if isinstance(value, dict) and "__value__" in value:
            value = self.inputs[name] = value["__value__"]
        return self._constant_errors(name, spec, value)

    def _link_form_errors(self, name: str, link: list) -> list[dict]:
        about = {"input_name": name, "received_value": link}
        if len(link) != 2 or not isinstance(link[0], str) or type(link[1]) is not int:
            return [problem("bad_linked_input", "a link is [node id, output number]", f"{name}: {link!s:.60}", **about)]
        if not self.graph.has_node(link[0]):
            text = f"{name}: node {shown(link[0])}"
            return [problem("bad_linked_input", "a link leads to a node that is missing", text, **about)]
        outputs = self.graph.declared(link[0]).outputs
        if not 0 <= link[1] < len(outputs):
            text = f"{name}: node {shown(link[0])} has {len(outputs)} outputs, not one numbered {link[1]}"
            return [problem("bad_linked_input", "a link leads to an output that is missing", text, **about)]
        return []

    def _link_errors(self, name: str, spec: InputSpec, link: list) -> list[dict]:
        if found := self._link_form_errors(name, link):
            return found
        received = self.received[name] = self.graph.declared(link[0]).outputs[link[1]]
        if self.own_types or types_match(received, spec):
            return []
        expected = "COMBO" if spec.choices is not None else spec.kind
        text = f"{name}: received {received}, expected {expected}"
        about = {"input_name": name, "received_type": str(received), "linked_node": link}
        return [problem("return_type_mismatch", "a link joins two different types", text, **about)]

    def _constant_errors(self, name: str, spec: InputSpec, value: Any) -> list[dict]:
        config = jsonable(spec.spec) if len(spec.choices or ()) <= LONGEST_CONFIG else None
        about = {"input_name": name, "received_value": value, "input_config": config}
        if not finite(value):
            about["received_value"] = None  # JSON has no NaN to report
            return [problem("invalid_input_type", "a value is not a finite number", f"{name}: {value!s:.60}", **about)]
        if spec.choices is None and spec.kind in CASTS:
            try:
                value = self.inputs[name] = cast(value, spec.kind)
            except (TypeError, ValueError, OverflowError) as error:
                text = f"{name}: {shown(value)} ({shown(str(error))})"
                return [problem("invalid_input_type", f"a value is no {spec.kind}", text, **about)]
        elif not isinstance(value, (str, int, float, bool)) and spec.choices is None:
            return []  # an input that takes an object as a constant: the node's own affair
        elif self._needs_a_link(spec):
            text = f"{name} takes a link from an output of type {spec.kind}, not the constant {value!r:.60}"
            return [problem("invalid_input_type", "an input needs a link", text, **about)]
        return [] if self.takes(name) else range_errors(spec, value, about)

    def _needs_a_link(self, spec: InputSpec) -> bool:
        """Whether an input is a socket and no widget: some class has outputs of its type, and no widget writes one."""
        if spec.choices is not None or spec.options.get("widgetType") or not isinstance(spec.kind, str):
            return False
        kinds = {part.strip() for part in spec.kind.split(",")}
        return not kinds & {*CASTS, "*", "COMBO"} and not kinds.isdisjoint(self.graph.registry.output_types)

    def _own_errors(self) -> list[dict]:
        """What the class's VALIDATE_INPUTS says; it sees constants, and None for links."""
        if self.own is None:
            return []
        hidden = {"PROMPT": {}, "DYNPROMPT": None, "EXTRA_PNGINFO": None, "UNIQUE_ID": self.node}
        inputs = gather_inputs(self.node, self.graph, {}, hidden)
        given = {name: values for name, values in inputs.items() if self.takes(name)}
        about = {"input_name": next(iter(given))} if len(given) == 1 else {}
        if self.own_types:
            given["input_types"] = [dict(self.received)]
        try:
            answers = self.awaiter.finish(call(self.declared.cls, "VALIDATE_INPUTS", given, self.awaiter))
        except Exception as error:
            return [problem("exception_during_validation", "the node's own check failed", f"{error}")]
        refusals = [answer for answer in answers if answer is not True]
        texts = [text if isinstance(text, str) else "the node refuses these values" for text in refusals]
        refused = ("custom_validation_failed", "the node does not accept a value")
        return [problem(*refused, text, **about) for text in dict.fromkeys(texts)]


def cast(value: Any, kind: str) -> Any:
    """A constant as the type of its input. Raises TypeError, ValueError or OverflowError."""
    if value is None or (kind != "STRING" and isinstance(value, (list, dict))):
        raise TypeError(f"{kind_of(value)} given")
    return CASTS[kind](value)


def types_match(received: Any, spec: InputSpec) -> bool:
    """Whether an output of type `received` may feed an input; `!=` of a str subclass decides, as ComfyUI does."""
    expected = spec.kind
    if spec.choices is not None:
        return received in ("COMBO", "*") or (isinstance(received, (list, tuple)) and list(received) == spec.choices)
    if not received != expected:  # noqa: SIM202 - a wildcard type overrides !=, not ==
        return True
    if not isinstance(received, str) or not isinstance(expected, str):
        return False
    kinds = [{part.strip() for part in kind.split(",")} for kind in (received, expected)]
    return any("*" in part for part in kinds) or not kinds[0].isdisjoint(kinds[1])


def range_errors(spec: InputSpec, value: Any, about: dict) -> list[dict]:
    """Whether a value is within its input's limits, or among its choices."""
    options, name, about = spec.options, spec.name, {**about, "received_value": value}
    if spec.choices is not None:
        wrong = [item for item in (value if isinstance(value, list) else [value]) if item not in spec.choices]
        if not wrong:
            return []
        shown = ", ".join(map(str, spec.choices[:12])) + (", ..." if len(spec.choices) > 12 else "")
        text = f"{name}: {wrong[0]!r:.80}; the list holds {shown or 'nothing yet'}"
        return [problem("value_not_in_list", "a value is not in the list", text, **about)]
    if not isinstance(value, (int, float)):
        return []
    if "min" in options and value < options["min"]:
        text = f"{name}: {value} is less than {options['min']}"
        return [problem("value_smaller_than_min", "a value is too small", text, **about)]
    if "max" in options and value > options["max"]:
        text = f"{name}: {value} is more than {options['max']}"
        return [problem("value_bigger_than_max", "a value is too large", text, **about)]
    return []


def finite(value: Any, depth: int = 0) -> bool:
    """Whether a constant holds no NaN and no infinity, at any depth that JSON sensibly has."""
    if isinstance(value, float):
        return math.isfinite(value)
    if depth > DEEPEST:
        return False
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return all(finite(part, depth + 1) for part in parts)
