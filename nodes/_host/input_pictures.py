"""Which pictures can a graph begin with? The pack's own examples, and whatever the host's Load Image can load."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageSequence
from torch import Tensor

from .which import IN_COMFYUI

FOLDER = Path(__file__).resolve().parents[2] / "input"
PREFIX = "imagen-nodes/"  # so that a person's own example.png keeps its name


def example_path(name: str) -> Path | None:
    """The file of an example by its name in the list; None for the name of any other picture."""
    file = name.removeprefix(PREFIX)
    return FOLDER / file if name.startswith(PREFIX) and file in _files() else None


def picture_names() -> list[str]:
    """The examples, then the files in the host's input folder."""
    kind, *rest = _load_image().INPUT_TYPES()["required"]["image"]
    theirs = kind if isinstance(kind, list) else rest[0]["options"]
    return [*(PREFIX + file for file in _files()), *theirs]


def load_picture(name: str) -> tuple[Tensor, Tensor]:
    """The host's IMAGE (b h w 3) and MASK (b h w), 1 where the picture is transparent."""
    path = example_path(name)
    if path is not None:
        return _load_example(path)
    node = _load_image()
    image, mask = (getattr(node(), node.FUNCTION)(image=name)[i] for i in range(2))
    return image, mask


def problem_with_picture(name: str) -> str | None:
    """What is wrong with a picture's name or its file, in a line; None for nothing."""
    if example_path(name) is not None:
        return None
    said = _load_image().VALIDATE_INPUTS(image=name)
    return None if said is True else str(said)


def picture_fingerprint(name: str) -> str:
    """What changes when the file does, for IS_CHANGED."""
    path = example_path(name)
    if path is None:
        return _load_image().IS_CHANGED(image=name)
    return f"{path.name}:{path.stat().st_size}:{path.stat().st_mtime_ns}"  # a checkout gives many files one time


def _files() -> list[str]:
    return sorted(path.name for path in FOLDER.glob("*.png"))


def _load_example(path: Path) -> tuple[Tensor, Tensor]:
    """All frames of an animated one."""
    with Image.open(path, formats=("PNG",)) as picture:
        frames = [np.array(frame.convert("RGBA")) for frame in ImageSequence.Iterator(picture)]
    pixels = torch.from_numpy(np.stack(frames)).float().div(255.0)  # b h w 4
    return pixels[..., :3].contiguous(), 1.0 - pixels[..., 3]


def _load_image() -> type:
    """The host's node of that name: it knows its input folder, and what may be opened."""
    if IN_COMFYUI:
        return importlib.import_module("nodes").LoadImage
    return importlib.import_module("imagen_host.core_nodes").LoadImage
