"""What must a module have so that ComfyUI may leave its weights on another device until it runs? Plain torch, no ComfyUI.

ComfyUI takes `comfy_cast_weights` as the mark of such a module, and reads of each so marked what its own layers have: a
`weight` and a `bias`, be they None, and a list of functions that each of the two passes through (LoRAs, when they run).
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

PARAMETERS = ("weight", "bias")


def castable(network: nn.Module, classes: Mapping[type, type]) -> nn.Module:
    """The same network, each layer of a class in `classes` made one of the host's that can cast; returns it."""
    for module in network.modules():
        if type(module) in classes:
            module.__class__ = classes[type(module)]
            _completed(module)
    return network


def fetched_one_by_one(modules: nn.Module) -> nn.Module:
    """Marks every module within that holds parameters itself as one that fetches them where it needs them; returns it."""
    for module in modules.modules():
        if next(module.parameters(recurse=False), None) is not None:
            module.comfy_cast_weights = False
            _completed(module)
    return modules


def unnoted(network: nn.Module) -> nn.Module:
    """The same network without what the host has noted on its modules of where their weights lie: for a copy."""
    for module in network.modules():
        for name in [name for name in vars(module) if "comfy" in name]:
            delattr(module, name)
        if hasattr(module, "comfy_cast_weights"):  # by its class
            _completed(module)
    return network


def _completed(module: nn.Module) -> None:
    """What the constructors of the host's own layers would have set, had they run."""
    for name in PARAMETERS:
        if not hasattr(module, name):
            module.register_parameter(name, None)
        setattr(module, f"{name}_function", [])
