"""How do picture files become IMAGE and MASK tensors, and back, without losing anything on the way?

Shapes: b frames, h w pixels, c channels.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, ImageSequence
from PIL.PngImagePlugin import PngInfo

from imagen_pictures import picture_colours, picture_files

from .. import runtime, whole_files

SUFFIXES = picture_files.SUFFIXES
check = picture_files.check


def load(path: Path) -> tuple[Any, Any]:
    """IMAGE (b h w 3) and MASK (b h w) of a file, in sRGB; frames that differ in size from the first are left out.

    Raises ValueError, in one line that names the file, when it cannot be read, is too large or is damaged.
    """
    import torch

    with picture_files.opened(path) as picture:
        images, masks = _batch(picture, str(path))
    return torch.from_numpy(images), torch.from_numpy(masks)


def shown(source: Path | IO[bytes], name: str) -> Image.Image:
    """The first frame of a file, upright and in sRGB, with 8 bits a colour: RGB or RGBA. Raises ValueError."""
    with picture_files.opened(source, name) as picture:
        return picture_colours.as_picture(picture, name)


def _batch(picture: Image.Image, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Frames (b h w 3) and masks (b h w), each put in its place as it is decoded: a second copy may be large."""
    frames = picture_files.frames_of(picture)
    images = masks = None
    count = 0
    for raw in islice(ImageSequence.Iterator(picture), frames):
        if images is not None and set(raw.size) != set(images.shape[1:3]):
            continue
        colours, mask = picture_colours.as_arrays(raw, name)
        if images is None:
            images = colours[None] if frames == 1 else np.empty((frames, *colours.shape), dtype=np.float32)
            masks = np.zeros((frames, *colours.shape[:2]), dtype=np.float32)
        if colours.shape == images.shape[1:]:
            images[count] = colours
            masks[count] = 0 if mask is None else mask
            count += 1
    return images[:count], masks[:count]


def graph_texts(prompt: Any, extra_pnginfo: Mapping[str, Any] | None) -> dict[str, str]:
    """The texts that a PNG carries: `prompt`, and `workflow` if known.

    Plain ASCII: PIL writes anything beyond Latin-1 as iTXt, which the editor's reader does not parse.
    """
    entries = {**({"prompt": prompt} if prompt is not None else {}), **(extra_pnginfo or {})}
    return {key: json.dumps(value, ensure_ascii=True) for key, value in entries.items()}


def to_picture(pixels: np.ndarray) -> Image.Image:
    """One frame (h w c), c in 1, 3, 4, as a PIL picture. Cut, not rounded, to 8 bits, as ComfyUI does: same file."""
    levels = np.clip(pixels.astype(np.float32) * 255.0, 0, 255).astype(np.uint8)
    return Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels)


def _checked(images: Any) -> np.ndarray:
    """The batch as (b h w c) numbers. NaN becomes black with a warning: a long run's picture is worth keeping."""
    if not callable(getattr(images, "detach", None)):
        raise ValueError(f"images: expected a picture (IMAGE), got {type(images).__name__}; link a node's IMAGE output")
    pixels = np.asarray(images.detach().cpu().float())
    if pixels.ndim != 4 or pixels.shape[-1] not in (1, 3, 4) or 0 in pixels.shape:
        raise ValueError(f"a picture of shape {tuple(pixels.shape)}: expected (batch, height, width, 1, 3 or 4)")
    bad = ~np.isfinite(pixels)
    if bad.any():
        warnings.warn(f"{bad.sum()} of {bad.size} pixel values are not finite; saved as 0 or 1", stacklevel=3)
        pixels = np.nan_to_num(pixels, nan=0.0, posinf=1.0, neginf=0.0)
    return pixels


def save(
    images: Any, prefix: str, directory: str, texts: Mapping[str, str], *, compress_level: int = 4
) -> list[dict[str, str]]:
    """Write a batch (b h w c) as PNG files; returns a filename and a subfolder for each.

    A file appears under its name only when it is complete, and never replaces another one.
    """
    pixels = _checked(images)
    folder, name, counter, subfolder, _ = runtime.get_save_image_path(
        prefix, directory, pixels.shape[2], pixels.shape[1]
    )
    os.makedirs(folder, exist_ok=True)
    info = PngInfo()
    for key, text in texts.items():
        info.add_text(key, text)
    saved = []
    with whole_files.drafts(folder) as drafts:
        for number, frame in enumerate(pixels):
            with open(drafts / "picture", "xb") as file:
                to_picture(frame).save(file, format="PNG", pnginfo=info, compress_level=compress_level)
            stem = name.replace("%batch_num%", str(number))
            filename, counter = _name(drafts / "picture", Path(folder), stem, counter)
            saved.append({"filename": filename, "subfolder": subfolder})
    return saved


def _name(draft: Path, folder: Path, stem: str, counter: int) -> tuple[str, int]:
    """Give a finished file the first free counter; returns its name and the next counter."""
    while not whole_files.claim(draft, folder / f"{stem}_{counter:05}_.png"):
        counter += 1
    draft.unlink(missing_ok=True)  # a link left it where it was
    return f"{stem}_{counter:05}_.png", counter + 1
