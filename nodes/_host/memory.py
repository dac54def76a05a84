"""How do our models share the machine with everybody else's? Through ComfyUI's memory manager, where there is one.

There, weights lie in a ModelPatcher: they are moved to the device when they are used, as many of them as fit, and away
when another model needs the room. The manager keeps weak references only, so a model lives as long as a node's output.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from ...imagen_core import Classifier, Clip, LoadedAdapter, Prior, Stage, has_bfloat16_units, warn_where_imitated
from .which import IN_COMFYUI, args, model_management

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def device() -> torch.device:
    """Where networks run."""
    if IN_COMFYUI:
        return model_management.get_torch_device()
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_device() -> torch.device:
    """Where a U-Net's weights are put when they are read: under ComfyUI, where they rest until they are used."""
    return model_management.unet_offload_device() if IN_COMFYUI else device()


def unet_dtype(choice: str = "auto", *, trained_in_half: bool = False) -> torch.dtype:
    """What a U-Net computes in: the user's `choice` (float32, bfloat16, float16), or with "auto" what the host says.

    trained_in_half: whether the checkpoint's authors ran it so; then a device that is good at it does, a CPU that is in
    bfloat16. ComfyUI's options such as --fp16-unet and --force-fp32 count under "auto"; one byte a number (--fp8_...)
    counts as auto.
    """
    if choice != "auto":
        if choice not in DTYPES:
            raise ValueError(f"dtype is {choice!r}: expected auto or one of {', '.join(DTYPES)}")
        warn_where_imitated(DTYPES[choice], device())
        return DTYPES[choice]
    fit = [torch.float16, torch.bfloat16, torch.float32] if trained_in_half else [torch.float32]
    said = _said_by_the_host(fit)
    here = trained_in_half and device().type == "cpu" and has_bfloat16_units() and not _float32_is_forced()
    return torch.bfloat16 if said == torch.float32 and here else said


def _said_by_the_host(fit: list[torch.dtype]) -> torch.dtype:
    if not IN_COMFYUI:
        return fit[0] if device().type == "cuda" else torch.float32
    asked = model_management.unet_dtype(device=device(), supported_dtypes=fit)
    if asked in DTYPES.values():
        return asked
    return model_management.unet_manual_cast(asked, device(), fit) or torch.float32


def _float32_is_forced() -> bool:
    return IN_COMFYUI and (args.fp32_unet or args.force_fp32)


def managed(model):
    """A loaded stage, control, CLIP, classifier, prior or text encoder as it travels between nodes: under the host's memory
    manager, if any.
    """
    if not IN_COMFYUI:
        return model
    from . import comfy_memory  # ComfyUI's own modules, which other hosts do not have

    if isinstance(model, Stage):
        return comfy_memory.managed_stage(model)
    if isinstance(model, (Clip, Classifier)):
        return comfy_memory.managed_measure(model)
    if isinstance(model, Prior):
        return comfy_memory.managed_prior(model)
    is_adapter = isinstance(model, LoadedAdapter)
    return comfy_memory.managed_adapter(model) if is_adapter else comfy_memory.managed_encoder(model)


@contextmanager
def computing(model: Clip | Prior, rows: int = 1) -> Iterator[Clip | Prior]:
    """A CLIP or prior on its device, for so many pictures; without a memory manager it leaves it at once for whoever
    comes next.
    """
    if IN_COMFYUI:
        from . import comfy_memory

        comfy_memory.loaded_alone(model, rows)
        yield model
    else:
        yield model.to(device())
        model.to("cpu")


def loaded(
    stage: Stage,
    *,
    pictures: int,
    height: int,
    width: int,
    beside: Sequence[Stage | LoadedAdapter | Clip | Classifier] = (),
    tile: int | None = None,
) -> Stage:
    """The stage on its device, with room made for drawing `pictures` of this size; it knows how many fit at once.

    beside: stages, controls and what guides by its gradient, asked at every step besides; they come to the device as
    well. tile: the most pixels of a side that the networks see, where the pictures are larger.
    """
    if not IN_COMFYUI:
        return stage
    from . import comfy_memory

    return comfy_memory.loaded_stage(stage, pictures=pictures, height=height, width=width, beside=beside, tile=tile)
