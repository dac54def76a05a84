"""The inputs of a node that chooses one of the core's methods: a combo of what was discovered, and every setting."""

from ..imagen_core import settings_of

KINDS = {float: "FLOAT", int: "INT", bool: "BOOLEAN", str: "STRING"}


def method_input(methods: dict[str, type], default: str, tooltip: str) -> tuple:
    """The default first, "none" last, so that what is added later moves nothing that people know."""
    names = sorted(methods, key=lambda name: (name != default, name == "none", name))
    return (names, {"default": default, "tooltip": tooltip})


def further_inputs(methods: dict[str, type], known: set[str]) -> dict[str, tuple]:
    """A widget for each setting of a number, switch or text that no widget among `known` is for; optional, and last."""
    found = {}
    for method, implementation in sorted(methods.items()):
        for name, (default, explained) in settings_of(implementation).items():
            if name not in known | found.keys() and type(default) in KINDS:
                limits = {"min": -1000.0, "max": 1000.0, "step": 0.01} if type(default) is float else {}
                tip = f"{method} only: {explained or name}"
                found[name] = (KINDS[type(default)], {"default": default, **limits, "advanced": True, "tooltip": tip})
    return found


def settings_for(method: type, values: dict) -> dict:
    """Of all the node's values those that this method has a setting for."""
    return {name: value for name, value in values.items() if name in settings_of(method)}
