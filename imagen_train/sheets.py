"""How are several pictures shown as one, and kept with their captions?

Shapes: b pictures, h w pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from imagen_core.whole_files import whole, write


def grid(pictures: Tensor, *, columns: int, scale: int = 1) -> Tensor:
    """(b 3 h w) as one picture (3 rows*h columns*w), magnified by whole pixels."""
    pictures = F.interpolate(pictures.cpu().float(), scale_factor=scale) if scale > 1 else pictures.cpu().float()
    rows = [torch.cat(list(row), dim=2) for row in pictures.split(columns)]
    rows[-1] = F.pad(rows[-1], (0, rows[0].shape[2] - rows[-1].shape[2]))
    return torch.cat(rows, dim=1)


def write_picture(path: Path, picture: Tensor) -> None:
    """Save (3 h w) in [-1, 1] as a PNG."""
    from PIL import Image

    pixels = ((picture.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0)  # h w 3
    with whole(path) as draft:
        Image.fromarray(pixels.cpu().numpy()).save(draft, format="PNG")


def write_captions(path: Path, captions: Sequence[str]) -> None:
    """Save a sheet's captions, one a line; makes the folder as needed."""
    write(path, ("\n".join(captions) + "\n").encode())
