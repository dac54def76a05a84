"""Which value of a saved node belongs to which of its inputs?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..declared import InputSpec
from .classes import NodeClass
from .ui_graph import Node

CONTROL_VALUES = ("fixed", "increment", "decrement", "randomize", "increment-wrap")
CONTROL = "control_after_generate"


def widget_values(node: Node, cls: NodeClass) -> dict[str, Any]:
    """The value of each widget of a node: as saved, or the default where the file has none.

    A list counts before names, as in the editor. Names are read where there is no list.
    """
    listed = isinstance(node.values, list)
    stored = node.values if isinstance(node.values, dict) else node.named if node.values is None else None
    values = without_forced(cls, node.values) if listed else []
    result = {}
    for spec, index in widget_places(cls, values):
        if listed and index < len(values):
            value = values[index]
        elif stored is not None and spec.name in stored:
            value = stored[spec.name]
        elif spec.default is None:
            continue
        else:
            value = spec.default
        result[spec.name] = spec.choices[0] if value is None and spec.choices else value
    return result


def widget_places(cls: NodeClass, values: list) -> Iterator[tuple[InputSpec, int]]:
    """Each widget and its place in widgets_values.

    The list also holds values that are no inputs: what happens to a seed after a run, and an upload button. Lists
    from before a seed had its control are shorter; there only what looks like a control is passed over.
    """
    widgets = [spec for spec in cls.inputs.values() if spec.is_widget]
    whole = len(values) >= sum(1 + controls(spec) for spec in widgets)
    index, upload = 0, _upload_after(cls)
    for number, spec in enumerate(widgets):
        yield spec, index
        index += 1
        extra = controls(spec)
        if extra and (whole or (index < len(values) and _is_control(values[index]))):
            index += extra
        last = number + 1 == len(widgets) or widgets[number + 1].required != spec.required
        if last and upload and spec.required:
            index += 1


def _upload_after(cls: NodeClass) -> bool:
    """Whether a button follows the required widgets: it is saved like one of them."""
    return any(spec.required and spec.options.get("image_upload") for spec in cls.inputs.values())


def controls(spec: InputSpec) -> int:
    """How many saved values follow a widget: its control, and a choice's filter besides."""
    control = spec.options.get(CONTROL)
    if spec.choices is not None:
        return 2 if control else 0
    if spec.kind != "INT":
        return 0
    return int(bool(spec.name in ("seed", "noise_seed") if control is None else control))


def _is_control(value: Any) -> bool:
    """Whether a value says what happens after a run; the oldest editors saved true or false."""
    return value is None or isinstance(value, bool) or value in CONTROL_VALUES


def without_forced(cls: NodeClass, values: list) -> list:
    """The values without those of inputs that take only links today: older graphs have a place for them."""
    forced: list[bool] = []
    for spec in cls.inputs.values():
        if spec.forced:
            forced.append(True)
            forced += [False] * bool(spec.options.get(CONTROL))
        elif spec.is_widget:
            forced += [False] * (1 + controls(spec))
    if True not in forced or len(forced) != len(values):
        return values
    return [value for value, gone in zip(values, forced, strict=True) if not gone]
