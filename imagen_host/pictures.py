"""How do picture files become IMAGE and MASK tensors, and back, without losing anything on the way?

Shapes: b frames, h w pixels, c channels.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from . import runtime, whole_files

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}


def check(path: Path) -> None:
    """Raise ValueError when `path` is no picture; reads its header only."""
    try:
        with Image.open(path) as picture:
            picture.size  # noqa: B018
    except UnidentifiedImageError:
        raise ValueError(f"{path} is not a picture that can be read: give a PNG, JPEG, WebP, GIF or TIFF") from None
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path} is too large: {error}") from None


def load(path: Path) -> tuple[Any, Any]:
    """IMAGE (b h w 3) and MASK (b h w) of a file; frames that differ in size from the first are left out.

    Raises ValueError when the file is damaged.
    """
    import torch

    check(path)
    try:
        with Image.open(path) as picture:
            frames = list(_frames(picture))
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ValueError(f"{path} is damaged ({error}): save it again, or name another") from error
    images, masks = zip(*(frame for frame in frames if frame[0].shape == frames[0][0].shape), strict=True)
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(masks))


def _frames(picture: Image.Image) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each frame upright, as pixels (h w 3) and mask (h w)."""
    for raw in ImageSequence.Iterator(picture):
        frame = ImageOps.exif_transpose(raw)
        if frame.mode.startswith("I"):  # 16 bits a pixel, grey
            grey = np.clip(np.asarray(frame, dtype=np.float32) / 65535.0, 0.0, 1.0)
            yield np.repeat(grey[..., None], 3, axis=-1), np.zeros_like(grey)
            continue
        transparent = "A" in frame.getbands() or "transparency" in frame.info
        frame = frame.convert("RGBA" if transparent else "RGB")
        pixels = np.asarray(frame, dtype=np.float32) / 255.0  # h w 3|4
        mask = 1.0 - pixels[..., 3] if transparent else np.zeros(pixels.shape[:2], dtype=np.float32)
        yield np.ascontiguousarray(pixels[..., :3]), mask


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
