"""Which input does a bypassed node pass on?"""

from __future__ import annotations

from typing import Any

from .classes import NodeClass
from .ui_graph import Node, Slot


def bypassed_slot(node: Node, output: int, kind: Any, cls: NodeClass | None = None) -> Slot | None:
    """The input that a bypassed node passes on as its output number `output` to an input of type `kind`."""
    inputs = node.inputs
    kinds = cls.outputs if cls else [slot.kind for slot in node.outputs]
    out_kind = kinds[output] if 0 <= output < len(kinds) else kind
    opposite = inputs[output] if 0 <= output < len(inputs) else None
    if kind in ("*", ""):  # anything will do
        return opposite or next(iter(inputs), None)
    fitting = [slot for slot in inputs if fits(slot.kind, kind) and fits(slot.kind, out_kind)]
    if any(slot is opposite for slot in fitting):
        return opposite
    return next((slot for slot in inputs if slot.kind == kind), None) or next(iter(fitting), None)


def fits(a: Any, b: Any) -> bool:
    """Whether the editor lets an output of type `a` feed an input of type `b`: equal, wild, or lists that overlap."""
    if any(kind in ("*", "", None, 0) for kind in (a, b)) or a == b:
        return True
    left, right = ({part.strip() for part in str(kind).lower().split(",")} for kind in (a, b))
    return bool(left & right)
