"""What do the numbers in a picture mean, as colours from 0 to 1 and as transparency?

Shapes: h w pixels, c channels. Pillow's own conversions cut numbers of more than 8 bits off, in silence; here each
kind of number has its scale, and what has none is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from .colour_profiles import grey_curve, lab_to_srgb, to_srgb
from .picture_files import PictureError

ORIENTATION = 0x0112  # EXIF
TURNS = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"}
TURNS |= {6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"}
BITS, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339  # TIFF
FULL_SCALES = (255, 1023, 4095, 16383, 65535)  # what white may be where a file does not say it
OVERSHOOT = 0.1  # of floats: sharpening and resampling leave a little below black and above white


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """What a file says of its numbers before they are decoded. raw_mode: how Pillow unpacks them."""

    name: str
    profile: bytes | None = None
    raw_mode: str = ""
    tags: dict = field(default_factory=dict)

    def tag(self, number: int, default: int) -> int:
        value = self.tags.get(number, default)
        value = value[0] if isinstance(value, tuple) and value else value
        return value if isinstance(value, int) else default

    @staticmethod
    def of(picture: Image.Image, name: str) -> Numbers:
        """Of a picture whose header is read."""
        given = picture.tile[0][3] if picture.tile else ""
        given = given[0] if isinstance(given, tuple) and given else given
        profile = picture.info.get("icc_profile")
        return Numbers(
            name=name,
            profile=profile if isinstance(profile, bytes) else None,
            raw_mode=given if isinstance(given, str) else "",
            tags=dict(picture.tag_v2) if picture.format == "TIFF" else {},
        )


def upright(picture: Image.Image) -> Image.Image:
    """Turned as its EXIF says; one whose EXIF cannot be read stays as it is."""
    try:
        turn = TURNS.get(picture.getexif().get(ORIENTATION))
    except Exception:  # Pillow's reader of EXIF stumbles in every way there is
        turn = None
    return picture if turn is None else picture.transpose(Image.Transpose[turn])


def decoded(picture: Image.Image, name: str) -> Image.Image | tuple[np.ndarray, np.ndarray | None]:
    """The present frame, upright and in sRGB: an RGB or RGBA picture where 8 bits hold it.

    Else colours (h w 3) float32 in 0 to 1 and the mask (h w), None where nothing is transparent. Raises PictureError.
    """
    numbers = Numbers.of(picture, name)
    picture.load()
    frame = upright(picture)
    if frame.mode.startswith("I") or frame.mode == "F" or frame.mode == "L" and numbers.tag(SAMPLE_FORMAT, 1) == 2:
        return _deep_grey(frame, numbers)
    if frame.mode == "LAB":
        return lab_to_srgb(frame)
    return to_srgb(_plain(_with_scaled_transparency(frame, numbers)), numbers.profile, name)


def as_arrays(picture: Image.Image, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    """The present frame as colours (h w 3) float32 in 0 to 1 and its mask (h w), None where nothing is transparent."""
    frame = decoded(picture, name)
    if isinstance(frame, tuple):
        return frame
    levels = np.asarray(frame)  # h w 3|4
    colours = np.divide(levels[..., :3], np.float32(255.0), dtype=np.float32)
    if levels.shape[-1] == 3:
        return colours, None
    return colours, np.float32(1.0) - np.divide(levels[..., 3], np.float32(255.0), dtype=np.float32)


def as_picture(picture: Image.Image, name: str) -> Image.Image:
    """The present frame with 8 bits a colour, RGB or RGBA, and no profile left in it."""
    frame = decoded(picture, name)
    if isinstance(frame, tuple):
        colours, mask = frame
        frame = Image.fromarray((colours * 255).round().astype(np.uint8))
        if mask is not None:
            frame.putalpha(Image.fromarray(((1 - mask) * 255).round().astype(np.uint8)))
    frame.info = {}
    return frame


def _has_alpha(frame: Image.Image) -> bool:
    in_palette = frame.mode == "P" and frame.palette is not None and frame.palette.mode.endswith("A")
    return any(band in "Aa" for band in frame.getbands()) or "transparency" in frame.info or in_palette


def _plain(frame: Image.Image) -> Image.Image:
    """One of L, LA, RGB, RGBA, CMYK, for which a profile may be: what other modes stand for."""
    if frame.mode == "La":  # multiplied by its alpha
        frame = frame.convert("LA")
    if not _has_alpha(frame):
        return frame if frame.mode == "CMYK" else frame.convert("L" if frame.mode in ("1", "L") else "RGB")
    if frame.mode in ("1", "L"):
        return Image.merge("LA", (frame.convert("L"), frame.convert("RGBA").getchannel("A")))
    return frame if frame.mode == "LA" else frame.convert("RGBA")


def _with_scaled_transparency(frame: Image.Image, numbers: Numbers) -> Image.Image:
    """A PNG names its transparent colour in its own bits, of which Pillow makes 8 in the pixels alone."""
    colour, (mode, _, bits) = frame.info.get("transparency"), numbers.raw_mode.partition(";")
    if mode == "L" and bits in ("2", "4") and isinstance(colour, int):
        frame.info["transparency"] = colour * (85 if bits == "2" else 17)
    if mode == "RGB" and bits == "16B" and isinstance(colour, tuple):
        frame.info["transparency"] = tuple(level >> 8 for level in colour)
    return frame


def _deep_grey(frame: Image.Image, numbers: Numbers) -> tuple[np.ndarray, np.ndarray | None]:
    """Grey of 16 bits, integers or floats: each kind by its own full scale."""
    stored = _stored(frame, numbers)
    grey = _scaled(stored, frame, numbers)
    if numbers.tag(PHOTOMETRIC, 1) == 0:  # white is zero
        grey = 1.0 - grey
    colour = frame.info.get("transparency")
    mask = (stored == colour).astype(np.float32) if isinstance(colour, int) else None
    curve = grey_curve(numbers.profile, numbers.name)
    if curve is None:
        return np.repeat(grey[..., None], 3, axis=-1), mask
    levels = np.arange(256) / 255.0
    return np.stack([np.interp(grey, levels, channel).astype(np.float32) for channel in curve.T], -1), mask


def _stored(frame: Image.Image, numbers: Numbers) -> np.ndarray:
    """The numbers as the file has them: Pillow shows unsigned ones as signed, and signed bytes as unsigned."""
    stored, signed = np.asarray(frame), numbers.tag(SAMPLE_FORMAT, 1) == 2
    if frame.mode == "I" and numbers.tag(BITS, 16) == 32 and not signed:
        return stored.view(np.uint32)
    if frame.mode == "I" and numbers.tag(BITS, 16) == 16 and signed:
        return stored.astype(np.int16)
    return stored.view(np.int8) if stored.dtype == np.uint8 and signed else stored


def _scaled(stored: np.ndarray, frame: Image.Image, numbers: Numbers) -> np.ndarray:
    """(h w) float32 in 0 to 1."""
    if stored.dtype == np.uint16 or (frame.mode == "I" and not numbers.tags):  # as PNG is, and TIFF of 9 to 16 bits
        full = 2 ** min(numbers.tag(BITS, 16), 16) - 1
    else:
        full = _full_scale(stored, numbers.name)
    return np.clip(stored.astype(np.float32) / np.float32(full), 0.0, 1.0)


def _full_scale(stored: np.ndarray, name: str) -> float:
    """What white is among these numbers: 1, or the smallest usual full scale that is not far above them."""
    low, high = float(stored.min()), float(stored.max())
    room = OVERSHOOT if stored.dtype.kind == "f" else 0.0
    if -room <= low and high <= 1 + room:
        return 1.0
    end = np.iinfo(stored.dtype).max if stored.dtype.kind != "f" else FULL_SCALES[-1]
    scales = [*(scale for scale in FULL_SCALES if scale < end), end]
    full = next((scale for scale in scales if high <= scale < 4 * high), None)
    if not low >= 0 or full is None:
        raise PictureError(
            f"{name} has numbers from {low:.6g} to {high:.6g} for grey, which is no usual scale (0 to 1, 0 to 255,"
            " 0 to 65535): save it with 8 or 16 bits"
        )
    return full
