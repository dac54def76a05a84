"""Which value of a saved node belongs to which of its inputs?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..declared import SECTIONS, choices_of, is_widget, options_of
from .ui_graph import Node

CONTROL_VALUES = ("fixed", "increment", "decrement", "randomize", "increment-wrap")
CONTROL = "control_after_generate"


def widget_values(node: Node, info: dict) -> dict[str, Any]:
    """The value of each widget of a node: as saved, or the default where the file has none.

    A list counts before names, as in the editor. Names are read where there is no list.
    """
    listed = isinstance(node.values, list)
    stored = node.values if isinstance(node.values, dict) else node.named if node.values is None else None
    values = without_forced(info, node.values) if listed else []
    result = {}
    for name, spec, index in widget_places(info, values):
        if listed and index < len(values):
            value = values[index]
        elif stored is not None and name in stored:
            value = stored[name]
        elif default_of(spec) is None:
            continue
        else:
            value = default_of(spec)
        empty_choice = value is None and choices_of(spec)
        result[name] = choices_of(spec)[0] if empty_choice else value
    return result


def default_of(spec: list) -> Any:
    """What a new node shows for an input, or None where nothing is known."""
    if "default" in options_of(spec):
        return options_of(spec)["default"]
    return choices_of(spec)[0] if choices_of(spec) else None


def widget_places(info: dict, values: list) -> Iterator[tuple[str, list, int]]:
    """Each widget's name, specification and place in widgets_values.

    The list also holds values that are no inputs: what happens to a seed after a run, and an upload button. Lists
    from before a seed had its control are shorter; there only what looks like a control is passed over.
    """
    widgets = [(section, name, spec) for section, name, spec in _declared(info) if is_widget(spec)]
    whole = len(values) >= sum(1 + controls(name, spec) for _, name, spec in widgets)
    index, upload = 0, _upload_after(info)
    for number, (section, name, spec) in enumerate(widgets):
        yield name, spec, index
        index += 1
        extra = controls(name, spec)
        if extra and (whole or (index < len(values) and _is_control(values[index]))):
            index += extra
        last = number + 1 == len(widgets) or widgets[number + 1][0] != section
        if last and upload and section == "required":
            index += 1


def _declared(info: dict) -> Iterator[tuple[str, str, list]]:
    for section in SECTIONS:
        specs = info["input"].get(section, {})
        for name in info.get("input_order", {}).get(section, specs):
            yield section, name, specs[name]


def _upload_after(info: dict) -> bool:
    """Whether a button follows the required widgets: it is saved like one of them."""
    return any(options_of(spec).get("image_upload") for spec in info["input"].get("required", {}).values())


def controls(name: str, spec: list) -> int:
    """How many saved values follow a widget: its control, and a choice's filter besides."""
    control = options_of(spec).get(CONTROL)
    if choices_of(spec) is not None:
        return 2 if control else 0
    if spec[0] != "INT":
        return 0
    return int(bool(name in ("seed", "noise_seed") if control is None else control))


def _is_control(value: Any) -> bool:
    """Whether a value says what happens after a run; the oldest editors saved true or false."""
    return value is None or isinstance(value, bool) or value in CONTROL_VALUES


def without_forced(info: dict, values: list) -> list:
    """The values without those of inputs that take only links today: older graphs have a place for them."""
    forced: list[bool] = []
    for _, name, spec in _declared(info):
        if options_of(spec).get("forceInput"):
            forced.append(True)
            forced += [False] * bool(options_of(spec).get(CONTROL))
        elif is_widget(spec):
            forced += [False] * (1 + controls(name, spec))
    if True not in forced or len(forced) != len(values):
        return values
    return [value for value, gone in zip(values, forced, strict=True) if not gone]
