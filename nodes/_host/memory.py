"""How do our models share the machine with everybody else's? Through ComfyUI's memory manager, where there is one."""

from __future__ import annotations

import torch

from .which import IN_COMFYUI, model_management


def device() -> torch.device:
    """Where networks run."""
    if IN_COMFYUI:
        return model_management.get_torch_device()
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def managed(model):
    """A loaded `Stage` or `T5TextEncoder` as it travels between nodes: under the host's memory manager, if it has one."""
    return model
