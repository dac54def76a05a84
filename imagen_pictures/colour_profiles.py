"""How do the colours of a file that carries an ICC profile become sRGB, which is what every network here has learned?"""

from __future__ import annotations

import io
import warnings
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

SAME = 2  # of 255: a profile that changes no colour by more is sRGB under another name, and nothing is touched
SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # a profile's colour space -> the mode it is for
CLASSES = ("scnr", "mntr", "prtr", "spac")  # what tells colours; others link or name them


class _Unusable(ValueError):
    """A profile that says nothing about this picture's colours."""


def to_srgb(picture: Image.Image, profile: bytes | None, name: str) -> Image.Image:
    """An RGB or RGBA picture in sRGB. One of mode L, LA, RGB, RGBA or CMYK is expected.

    A profile that is damaged, or for another kind of picture, is ignored with a warning that names the file.
    """
    alpha = picture.getchannel("A") if "A" in picture.getbands() else None
    colours = picture.convert(picture.mode.removesuffix("A")) if alpha is not None else picture
    if profile:
        try:
            colours = _converted(colours, profile)
        except _Unusable as error:
            warnings.warn(f"{name}: its colour profile is ignored ({error})", stacklevel=2)
    colours = colours.convert("RGB")
    if alpha is not None:
        colours.putalpha(alpha)
    return colours


def grey_curve(profile: bytes | None, name: str) -> np.ndarray | None:
    """What 256 even levels of grey are in sRGB: (256 3) in 0 to 1; None when they stay what they are."""
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    levels = np.asarray(to_srgb(ramp, profile, name))[0]
    return levels / 255.0 if np.abs(levels.astype(int) - np.arange(256)[:, None]).max() > SAME else None


def lab_to_srgb(picture: Image.Image) -> Image.Image:
    """A picture of mode LAB (D50) as RGB."""
    return ImageCms.applyTransform(picture, _from_lab())


@lru_cache(maxsize=1)
def _from_lab() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")


def _converted(colours: Image.Image, profile: bytes) -> Image.Image:
    mode, transform = _transform(profile)
    if mode == "RGB" and colours.mode == "L":
        colours = colours.convert("RGB")
    if colours.mode != mode:
        raise _Unusable(f"it is for {mode} pictures, this one is {colours.mode}")
    return colours if transform is None else ImageCms.applyTransform(colours, transform)


@lru_cache(maxsize=8)
def _transform(profile: bytes) -> tuple[str, ImageCms.ImageCmsTransform | None]:
    """The mode a profile is for and the way from it to sRGB; None when that changes nothing. Raises _Unusable."""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        kind, space = opened.profile.device_class.strip(), opened.profile.xcolor_space.strip()
        if kind not in CLASSES or space not in SPACES:
            raise _Unusable(f"it is of class {kind!r} for {space!r}")
        mode = SPACES[space]
        transform = ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), mode, "RGB")
        return mode, None if _changes_nothing(mode, transform) else transform
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        raise _Unusable(" ".join(str(error).split()) or "it is damaged") from error


def _changes_nothing(mode: str, transform: ImageCms.ImageCmsTransform) -> bool:
    """Tried on a grid of all colours."""
    if mode == "CMYK":
        return False
    steps = np.linspace(0, 255, 17 if mode == "RGB" else 256).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3) if mode == "RGB" else steps[None]
    after = np.asarray(ImageCms.applyTransform(Image.fromarray(grid), transform)).astype(int)
    before = np.asarray(Image.fromarray(grid).convert("RGB")).astype(int)
    return int(np.abs(after - before).max()) <= SAME
