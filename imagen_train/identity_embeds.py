"""What does somebody else's encoder say of a set's pictures? One file of embeddings, in the pictures' order.

Shapes: n a set's pictures, e an embedding's numbers.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from imagen_core._safetensors import opened

NAME = "embeds"


def read_embeds(path: Path, pictures: int) -> Tensor:
    """(n e) float32. ValueError for a file without the tensor, or with a row too few or too many."""
    with opened(path) as file:
        shape = tuple(file.shapes.get(NAME, ()))
        if len(shape) != 2 or shape[0] != pictures:
            found = f"one of {shape}" if shape else "none"
            raise ValueError(
                f"{path} should have a tensor {NAME!r} of a row for each of the {pictures} pictures, in their order, and "
                f"has {found}: make it anew with your encoder"
            )
        return file.read(NAME, torch.float32)


def embeds_width(path: Path) -> int:
    """Numbers of an embedding in such a file. ValueError where it has none."""
    with opened(path) as file:
        shape = tuple(file.shapes.get(NAME, ()))
    if len(shape) != 2:
        raise ValueError(f"{path} has no tensor {NAME!r} of a row a picture: make it anew with your encoder")
    return shape[1]
