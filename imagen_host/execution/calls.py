"""How is one node's function called: with which values, how often, and what does its answer mean?

Inside the engine every value is a list, because a node may produce several; a plain node is called once per item.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..runtime import ExecutionBlocker
from .awaiting import Awaiter
from .cache import Entry
from .graph import Graph, Link, is_link

Inputs = dict[str, list]


def gather_inputs(node: str, graph: Graph, results: Mapping[str, list], hidden: Mapping[str, Any]) -> Inputs:
    """Every input that the node's class takes, as a list: what came through a link, a constant, or a hidden value.

    A link without a result gives [None]; a link that the class wants as it is stays a link.
    """
    declared, links = graph.declared(node), graph.links(node)
    inputs: Inputs = {}
    for name, value in graph.get_node(node)["inputs"].items():
        spec = declared.inputs.get(name)
        if name in links and not (spec and spec.raw_link):
            inputs[name] = results.get(name, [None])
        elif spec or name in declared.hidden:
            inputs[name] = [value]
    known = {name: kind for name, kind in declared.hidden.items() if isinstance(kind, str) and kind in hidden}
    return inputs | {name: [hidden[kind]] for name, kind in known.items()}


def call(
    owner: Any,
    name: str,
    inputs: Inputs,
    awaiter: Awaiter,
    *,
    check: Callable[[], None] = lambda: None,
    on_block: Callable[[ExecutionBlocker], ExecutionBlocker] = lambda blocker: blocker,
) -> list[Any]:
    """The answer of each call of a node's function or hook; a task for a coroutine.

    A call that an ExecutionBlocker would reach is left out, and what `on_block` makes of the blocker is its answer.
    `check` is called before each call.
    """
    function = getattr(owner, name)
    whole = bool(getattr(owner, "INPUT_IS_LIST", False))
    answers = []
    for arguments in [inputs] if whole else _one_by_one(inputs):
        check()
        blocker = _blocker(itertools.chain(*arguments.values()) if whole else arguments.values())
        answers.append(awaiter.start(function(**arguments)) if blocker is None else on_block(blocker))
    return answers


def _one_by_one(inputs: Inputs) -> list[dict[str, Any]]:
    """The keyword arguments of each call: one per item, short lists repeating their last."""
    empty = [name for name, values in inputs.items() if not values]
    if empty:
        raise ValueError(f"input {empty[0]} received an empty list: the node before it gave nothing")
    count = max((len(values) for values in inputs.values()), default=1)
    return [{name: values[min(i, len(values) - 1)] for name, values in inputs.items()} for i in range(count)]


def _blocker(values: Iterable[Any]) -> ExecutionBlocker | None:
    return next((value for value in values if isinstance(value, ExecutionBlocker)), None)


@dataclass(kw_only=True)
class Answer:
    """One call's answer: a value for each output (None: no outputs), what to show, and the nodes to run in its place."""

    values: tuple | list | None = None
    ui: Mapping[str, list] = field(default_factory=dict)
    expand: Any = None


def read_answer(cls: type, answer: Any) -> Answer:
    """What a node's function returned, checked. Raises ValueError for a wrong form."""
    ui, expand, values = {}, None, answer
    if isinstance(answer, dict):
        ui, expand, values = answer.get("ui") or {}, answer.get("expand"), answer.get("result")
        if values is None:
            return Answer(ui=ui, expand=expand)
    count = len(getattr(cls, "RETURN_TYPES", ()))
    if isinstance(values, ExecutionBlocker):
        values = (values,) * count
    values = () if values is None else values
    if not isinstance(values, (tuple, list)) or len(values) < count:
        raise ValueError(f"{cls.__name__}.{cls.FUNCTION} should return a tuple of {count}, not {answer!r:.60}")
    return Answer(values=values, ui=ui, expand=expand)


def join(cls: type, answers: Iterable[Answer], result_of: Callable[[Link], list]) -> Entry:
    """All calls' answers as one result; `result_of` gives what came through a link to an expanded node."""
    count = len(getattr(cls, "RETURN_TYPES", ()))
    flatten = list(getattr(cls, "OUTPUT_IS_LIST", None) or [False] * count)
    entry = Entry(outputs=[[] for _ in range(count)])
    for answer in answers:
        for key, values in answer.ui.items():
            entry.ui.setdefault(key, []).extend(values)
        for collected, value, is_list in zip(entry.outputs, answer.values or (), flatten, strict=False):
            if answer.expand is not None and is_link(value):
                collected.extend(result_of(value))
            elif is_list and not isinstance(value, ExecutionBlocker):
                collected.extend(value)
            else:
                collected.append(value)
    return entry
