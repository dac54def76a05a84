"""Can this prompt run, and if not, which input of which node is wrong?

Only what an output node needs is checked. Constants are cast in place to the type their input declares. Error types and
the shape of an error are ComfyUI's, so that its editor can show them on the node.
"""

from __future__ import annotations

import difflib
import graphlib
import inspect
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from .registry import SECTIONS, Registry, choices_of, jsonable, options_of

CASTS = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}
LONGEST_CONFIG = 20  # choices that an error repeats
DEEPEST = 100  # of lists and objects inside one constant


@dataclass(kw_only=True)
class Validation:
    """`outputs` can run; `error` is set when nothing can; `node_errors` holds the errors of each node by id."""

    outputs: list[str] = field(default_factory=list)
    error: dict | None = None
    node_errors: dict[str, dict] = field(default_factory=dict)


def problem(kind: str, message: str, details: str = "", **extra: Any) -> dict:
    """One error as ComfyUI words it to its editor."""
    return {"type": kind, "message": message, "details": details, "extra_info": extra}


def is_link(value: Any) -> bool:
    return isinstance(value, list)


def sources(entry: dict, prompt: dict) -> list[str]:
    """The nodes that a prompt's entry takes its linked inputs from, as far as they exist."""
    links = [value for value in entry["inputs"].values() if is_link(value)]
    return [link[0] for link in links if len(link) == 2 and isinstance(link[0], str) and link[0] in prompt]


def input_specs(inputs: dict) -> Iterator[tuple[str, Any, bool]]:
    """Name, specification and whether it is required, of every input that INPUT_TYPES declares."""
    for section in SECTIONS:
        for name, spec in inputs.get(section, {}).items():
            yield name, spec, section == "required"


def validate(prompt: Any, registry: Registry, targets: Collection[str] | None = None) -> Validation:
    """Check what the output nodes (those in `targets` if given) need. Casts constants in `prompt` in place."""
    error = form_error(prompt, registry)
    if error is not None:
        return Validation(error=error)
    outputs = [node for node in prompt if getattr(_class_of(node, prompt, registry), "OUTPUT_NODE", False)]
    outputs = [node for node in outputs if targets is None or node in targets]
    if not outputs:
        hint = "add a node that keeps its result, such as SaveImage, and do not mute it"
        return Validation(error=problem("prompt_no_outputs", "nothing in this workflow has an output", hint))
    needed = {output: ancestors(output, prompt) for output in outputs}
    failed = _failures(prompt, registry, set().union(*needed.values()))
    node_errors = {
        node: {
            "errors": errors,
            "dependent_outputs": [output for output, nodes in needed.items() if node in nodes],
            "class_type": prompt[node]["class_type"],
        }
        for node, errors in failed.items()
    }
    good = [output for output, nodes in needed.items() if nodes.isdisjoint(failed)]
    if good:
        return Validation(outputs=good, node_errors=node_errors)
    error = problem("prompt_outputs_failed_validation", "no output of this workflow can be made")
    return Validation(error=error, node_errors=node_errors)


def _class_of(node: str, prompt: dict, registry: Registry) -> type:
    return registry.classes[prompt[node]["class_type"]]


def _failures(prompt: dict, registry: Registry, nodes: Collection[str]) -> dict[str, list[dict]]:
    """The errors of each node among `nodes` that has any."""
    failed = {node: NodeCheck(node, prompt, registry).errors() for node in prompt if node in nodes}
    acyclic = set(nodes)
    while cycle := find_cycle(prompt, acyclic):
        acyclic.difference_update(cycle)
        error = problem("dependency_cycle", "its input depends on its own output", " -> ".join([*cycle, cycle[0]]))
        for node in cycle:
            failed[node] = [error, *failed[node]]
    return {node: errors for node, errors in failed.items() if errors}


def form_error(prompt: Any, registry: Registry) -> dict | None:
    """What is wrong with the prompt as a whole: its form, or a class that is not there."""
    if not isinstance(prompt, dict) or not prompt:
        return problem("no_prompt", "there is no prompt", "expected an object of nodes by id")
    for node, entry in prompt.items():
        where = f"Node ID '#{node}'"
        if not isinstance(entry, dict):
            return problem("invalid_prompt", f"node {node} has no class_type: it is not an object", where)
        if not isinstance(entry.setdefault("inputs", {}), dict):
            return problem("invalid_prompt", f"the inputs of node {node} are not an object", where)
        if not isinstance(entry.get("class_type"), str) or entry["class_type"] not in registry.classes:
            return _missing_class(node, entry, registry)
    return None


def _missing_class(node: str, entry: dict, registry: Registry) -> dict:
    kind, meta = entry.get("class_type"), entry.get("_meta")
    about = {"node_id": node, "class_type": kind if isinstance(kind, str) else None}
    about["node_title"] = meta.get("title", kind) if isinstance(meta, dict) else kind
    where = f"Node ID '#{node}'"
    if not isinstance(kind, str):
        return problem("missing_node_type", f"node {node} has no class_type", where, **about)
    near = difflib.get_close_matches(kind, registry.classes, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    message = f"node {node} is of the unknown class {kind!r}{hint} (ComfyUI or another pack may have it)"
    return problem("missing_node_type", message, where, **about)


def ancestors(node: str, prompt: dict) -> set[str]:
    """The node and everything it depends on."""
    found, waiting = {node}, [node]
    while waiting:
        new = set(sources(prompt[waiting.pop()], prompt)) - found
        found |= new
        waiting += new
    return found


def find_cycle(prompt: dict, nodes: Collection[str]) -> list[str]:
    """Nodes that depend on each other in a ring, or an empty list."""
    members = [node for node in prompt if node in nodes]
    edges = {node: [source for source in sources(prompt[node], prompt) if source in nodes] for node in members}
    try:
        graphlib.TopologicalSorter(edges).prepare()
    except graphlib.CycleError as error:
        return list(dict.fromkeys(error.args[1]))
    return []


class NodeCheck:
    """The checks of one node; a value is cast in the prompt as it passes."""

    def __init__(self, node: str, prompt: dict, registry: Registry) -> None:
        self.prompt, self.registry = prompt, registry
        self.inputs = prompt[node]["inputs"]
        self.cls = registry.classes[prompt[node]["class_type"]]
        own = getattr(self.cls, "VALIDATE_INPUTS", None)
        signature = inspect.signature(own).parameters if own else {}
        takes_all = any(item.kind is item.VAR_KEYWORD for item in signature.values())
        self.specs = {name: (spec, required) for name, spec, required in input_specs(self.cls.INPUT_TYPES())}
        self.own_names = set(self.specs) if takes_all else set(signature) & set(self.specs)
        self.own_types = "input_types" in signature
        self.received: dict[str, Any] = {}  # types of linked inputs

    def errors(self) -> list[dict]:
        found = []
        for name, (spec, required) in self.specs.items():
            try:
                found += self._input_errors(name, spec, required)
            except Exception as error:  # a class with a broken declaration
                text = f"{name}: {error}"
                found.append(problem("exception_during_inner_validation", "checking this input failed", text))
        return found or self._own_errors()

    def _input_errors(self, name: str, spec: Any, required: bool) -> list[dict]:
        if name not in self.inputs:
            hint = f"connect or set {name}"
            missing = problem("required_input_missing", "a required input is missing", hint, input_name=name)
            return [missing] if required else []
        value = self.inputs[name]
        if is_link(value):
            return self._link_errors(name, spec, value)
        if isinstance(value, dict) and "__value__" in value:
            value = self.inputs[name] = value["__value__"]
        return self._constant_errors(name, spec, value)

    def _link_errors(self, name: str, spec: Any, link: list) -> list[dict]:
        about = {"input_name": name, "received_value": link}
        if len(link) != 2 or not isinstance(link[0], str) or not isinstance(link[1], int):
            return [problem("bad_linked_input", "a link is [node id, output number]", f"{name}: {link!s:.60}", **about)]
        if link[0] not in self.prompt:
            text = f"{name}: node {link[0]}"
            return [problem("bad_linked_input", "a link leads to a node that is missing", text, **about)]
        outputs = getattr(_class_of(link[0], self.prompt, self.registry), "RETURN_TYPES", ())
        if not 0 <= link[1] < len(outputs):
            text = f"{name}: node {link[0]} has {len(outputs)} outputs, not one numbered {link[1]}"
            return [problem("bad_linked_input", "a link leads to an output that is missing", text, **about)]
        received = self.received[name] = outputs[link[1]]
        if self.own_types or types_match(received, spec):
            return []
        expected = "COMBO" if choices_of(spec) is not None else spec[0]
        text = f"{name}: received {received}, expected {expected}"
        about = {"input_name": name, "received_type": str(received), "linked_node": link}
        return [problem("return_type_mismatch", "a link joins two different types", text, **about)]

    def _constant_errors(self, name: str, spec: Any, value: Any) -> list[dict]:
        kind, choices = spec[0], choices_of(spec)
        config = jsonable(spec) if len(choices or ()) <= LONGEST_CONFIG else None
        about = {"input_name": name, "received_value": value, "input_config": config}
        if not finite(value):
            about["received_value"] = None  # JSON has no NaN to report
            return [problem("invalid_input_type", "a value is not a finite number", f"{name}: {value!s:.60}", **about)]
        if choices is None and kind in CASTS:
            try:
                if value is None or (kind != "STRING" and isinstance(value, (list, dict))):
                    raise TypeError(f"{type(value).__name__} given")
                value = self.inputs[name] = CASTS[kind](value)
            except (TypeError, ValueError, OverflowError) as error:
                text = f"{name}: {value!s:.60} ({error!s:.80})"
                return [problem("invalid_input_type", f"a value is no {kind}", text, **about)]
        elif choices is None and not isinstance(value, (str, int, float, bool)):
            return []  # a socket type that takes an object as a constant: the node's own affair
        elif choices is None and kind not in ("*", "COMBO") and not options_of(spec).get("widgetType"):
            text = f"{name} takes a link from an output of type {kind}, not the constant {value!r:.60}"
            return [problem("invalid_input_type", "an input needs a link", text, **about)]
        return [] if name in self.own_names else _range_errors(spec, value, choices, about)

    def _own_errors(self) -> list[dict]:
        """What the class's VALIDATE_INPUTS says; it sees constants, and None for links."""
        if not hasattr(self.cls, "VALIDATE_INPUTS"):
            return []
        given = {
            name: None if is_link(self.inputs[name]) else self.inputs[name]
            for name in self.own_names
            if name in self.inputs
        }
        if getattr(self.cls, "INPUT_IS_LIST", False):
            given = {name: [value] for name, value in given.items()}
        if self.own_types:
            given["input_types"] = dict(self.received)
        try:
            answer = self.cls.VALIDATE_INPUTS(**given)
        except Exception as error:
            return [problem("exception_during_validation", "the node's own check failed", f"{error}")]
        if answer is True:
            return []
        text = answer if isinstance(answer, str) else "the node refuses these values"
        return [problem("custom_validation_failed", "the node does not accept a value", text)]


def types_match(received: Any, spec: Any) -> bool:
    """Whether an output of type `received` may feed an input; `!=` of a str subclass decides, as ComfyUI does."""
    expected = spec[0]
    if choices_of(spec) is not None:
        return received == "COMBO" or (isinstance(received, (list, tuple)) and list(received) == choices_of(spec))
    if not received != expected:  # noqa: SIM202 - a wildcard type overrides !=, not ==
        return True
    if not isinstance(received, str) or not isinstance(expected, str):
        return False
    return bool({part.strip() for part in received.split(",")} & {part.strip() for part in expected.split(",")})


def _range_errors(spec: Any, value: Any, choices: list | None, about: dict) -> list[dict]:
    options, name = options_of(spec), about["input_name"]
    about = {**about, "received_value": value}
    if choices is not None:
        wrong = [item for item in (value if isinstance(value, list) else [value]) if item not in choices]
        if not wrong:
            return []
        shown = ", ".join(map(str, choices[:12])) + (", ..." if len(choices) > 12 else "") if choices else "nothing yet"
        text = f"{name}: {wrong[0]!r:.80}; the list holds {shown}"
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
