"""What do PrimitiveNodes write into the widgets they are joined to?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..declared import InputSpec
from .canvas_only import PRIMITIVE
from .classes import NodeClass
from .ui_graph import Graph, Node, Slot
from .widgets import widget_values


def apply_primitives(graph: Graph, classes: Mapping[str, NodeClass]) -> None:
    """Write what PrimitiveNodes hold into the widgets they are joined to directly, whatever mode they are in."""
    ends: dict[str, list[tuple[Node, Slot]]] = {}
    for node in graph.nodes.values():
        for slot in node.inputs:
            if slot.link is not None:
                ends.setdefault(slot.link.origin, []).append((node, slot))
    order = {number: index for index, number in enumerate(graph.links)}
    for primitive in graph.nodes.values():
        if primitive.type == PRIMITIVE:
            own = sorted(ends.get(primitive.id, []), key=lambda end: order.get(end[1].link.id, 0))
            _apply(graph, primitive, own, classes)


def _apply(graph: Graph, primitive: Node, ends: list[tuple[Node, Slot]], classes: Mapping[str, NodeClass]) -> None:
    found = [(node, slot, _widget(node, slot, classes)) for node, slot in ends]
    specs = [spec for _, _, spec in found if spec is not None]
    if not specs or found[0][2] is None:
        return
    values = primitive.values
    own = primitive.outputs[0].kind == specs[0].socket if primitive.outputs else False
    if own and isinstance(values, list) and values:
        value = values[0]
    else:
        value = widget_values(found[0][0], classes[found[0][0].type]).get(found[0][1].widget)
    value = fitted(value, specs)
    for node, slot, spec in found:
        if spec is not None:
            graph.forced[node.id, slot.widget] = value
            if primitive.properties.get("Run widget replace on values") and isinstance(value, str):
                graph.texts.add((node.id, slot.widget))


def _widget(node: Node, slot: Slot, classes: Mapping[str, NodeClass]) -> InputSpec | None:
    cls = classes.get(node.type)
    return cls.widget(slot.widget) if cls else None


def fitted(value: Any, specs: list[InputSpec]) -> Any:
    """A PrimitiveNode's number within the limits that all its targets share, and whole for whole numbers."""
    kinds = {spec.kind for spec in specs if spec.choices is None}
    if len(kinds) != 1 or not kinds <= {"INT", "FLOAT"} or isinstance(value, (bool, str, list, dict)):
        return value
    if value is None:
        return 0
    low = max(spec.options.get("min", -math.inf) for spec in specs)
    high = min(spec.options.get("max", math.inf) for spec in specs)
    if low <= high and not math.isnan(value):
        value = min(max(value, low), high)
    if kinds == {"INT"} and isinstance(value, float) and math.isfinite(value):
        return math.floor(value + 0.5)
    return value
