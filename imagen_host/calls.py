"""How is one node's function called: with which values, how often, and what does its answer mean?

Inside the engine every value is a list, because a node may produce several; a plain node is called once per item.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import runtime
from .cache import Entry
from .validation import input_specs

Inputs = dict[str, list]


def gather_inputs(cls: type, constants: Mapping[str, Any], results: Mapping[str, list], hidden: Mapping) -> Inputs:
    """Every declared input as a list: results of links ([None] for one not yet evaluated), constants, hidden values."""
    declared = cls.INPUT_TYPES()
    inputs: Inputs = {}
    for name, _, _ in input_specs(declared):
        if name in results:
            inputs[name] = results[name]
        elif name in constants:
            inputs[name] = [None if isinstance(constants[name], list) else constants[name]]
    for name, kind in declared.get("hidden", {}).items():
        inputs[name] = [hidden.get(kind)]
    return inputs


def is_blocked(inputs: Inputs) -> bool:
    """Whether an input holds an ExecutionBlocker. Raises RuntimeError with its message if it has one."""
    for name, values in inputs.items():
        for value in values:
            if isinstance(value, runtime.ExecutionBlocker):
                if value.message is not None:
                    raise RuntimeError(f"input {name} is blocked: {value.message}")
                return True
    return False


def _calls(instance: Any, inputs: Inputs) -> list[dict[str, Any]]:
    """The keyword arguments of each call: one with whole lists, or one per item, short lists repeating their last."""
    if getattr(instance, "INPUT_IS_LIST", False):
        return [inputs]
    empty = [name for name, values in inputs.items() if not values]
    if empty:
        raise ValueError(f"input {empty[0]} received an empty list: the node before it gave nothing")
    count = max((len(values) for values in inputs.values()), default=1)
    return [{name: values[min(i, len(values) - 1)] for name, values in inputs.items()} for i in range(count)]


def call_lazy(instance: Any, inputs: Inputs) -> set[str]:
    """The inputs that the node's check_lazy_status still asks for."""
    if not hasattr(instance, "check_lazy_status"):
        return set()
    wanted: set[str] = set()
    for arguments in _calls(instance, inputs):
        wanted |= set(instance.check_lazy_status(**arguments) or ())
    return wanted


def call_node(instance: Any, inputs: Inputs) -> Entry:
    """Run the node's function. Raises what it raises, and ValueError for an answer of the wrong form."""
    function = getattr(instance, instance.FUNCTION)
    outputs: list[list[Any]] = [[] for _ in getattr(instance, "RETURN_TYPES", ())]
    ui: dict[str, list] = {}
    for arguments in _calls(instance, inputs):
        runtime.current().check_interrupt()
        answer = function(**arguments)
        if isinstance(answer, dict):
            for key, values in answer.get("ui", {}).items():
                ui.setdefault(key, []).extend(values)
            answer = answer.get("result")
        _collect(instance, answer, outputs)
    return Entry(outputs=outputs, ui=ui)


def _collect(instance: Any, answer: Any, outputs: list[list[Any]]) -> None:
    """Add one call's answer to the lists of outputs."""
    if isinstance(answer, runtime.ExecutionBlocker):
        answer = (answer,) * len(outputs)
    answer = () if answer is None else answer
    if not isinstance(answer, (tuple, list)) or len(answer) < len(outputs):
        name = type(instance).__name__
        raise ValueError(f"{name}.{instance.FUNCTION} should return a tuple of {len(outputs)}, not {answer!r:.60}")
    flatten = getattr(instance, "OUTPUT_IS_LIST", None) or (False,) * len(outputs)
    for collected, value, is_list in zip(outputs, answer, flatten, strict=False):
        if is_list and not isinstance(value, runtime.ExecutionBlocker):
            collected.extend(value)
        else:
            collected.append(value)
