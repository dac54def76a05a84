"""Which value of a saved node belongs to which of its inputs?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .registry import SECTIONS, choices_of, is_widget, options_of

CONTROL_VALUES = ("fixed", "increment", "decrement", "randomize", "increment-wrap")


def widget_values(node: dict, info: dict) -> dict[str, Any]:
    """The value of each widget of a node: as saved, or the default where the file has none."""
    named, values = node.get("widgets_values_named"), node.get("widgets_values")
    stored = named if isinstance(named, dict) else values if isinstance(values, dict) else None
    result = {}
    for name, spec, index in widget_places(info, values if isinstance(values, list) else []):
        if stored is not None and name in stored:
            result[name] = stored[name]
        elif stored is None and isinstance(values, list) and index < len(values):
            result[name] = values[index]
        elif "default" in options_of(spec):
            result[name] = options_of(spec)["default"]
        elif choices_of(spec):
            result[name] = choices_of(spec)[0]
    return result


def widget_places(info: dict, values: list) -> Iterator[tuple[str, list, int]]:
    """Each widget's name, specification and place in widgets_values.

    The list also holds values that are no inputs: what happens to a seed after a run, and an upload button.
    """
    index, sections = 0, info["input"]
    for section in SECTIONS:
        specs = sections.get(section, {})
        for name in info.get("input_order", {}).get(section, specs):
            spec = specs[name]
            if not is_widget(spec):
                continue
            yield name, spec, index
            index += 1
            if _has_control(name, spec) and index < len(values) and values[index] in CONTROL_VALUES:
                index += 2 if choices_of(spec) is not None else 1
        if section == "required" and any(options_of(spec).get("image_upload") for spec in specs.values()):
            index += 1


def _has_control(name: str, spec: list) -> bool:
    control = options_of(spec).get("control_after_generate")
    if control is None:
        return spec[0] == "INT" and name in ("seed", "noise_seed")
    return bool(control) and (spec[0] == "INT" or choices_of(spec) is not None)
