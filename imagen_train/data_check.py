"""Can one train on these pictures? Counts, sizes, captions, what is broken and why, and a sheet to look at."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw
from tqdm import tqdm

from imagen_core.whole_files import whole

from .buckets import Buckets, kept
from .own_pictures import Collection
from .prepared import picture_of

TILE, CAPTION_HEIGHT, COLUMNS = 128, 28, 8
FEW_OF_A_BUCKET = 8
FEW = 100  # below this many pictures, a network of one's own learns them by heart


@dataclass
class Check:
    """What was found."""

    sizes: list[tuple[int, int]] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    tiles: list[Image.Image] = field(default_factory=list)

    def figures(self, form: str, side: int, buckets: Buckets) -> dict[str, Any]:
        """All of it in numbers, fit for JSON. buckets: those that are said, whether they will be used or not."""
        squares = [kept(size, (1, 1)) for size in self.sizes]
        found = [buckets.of(size, side) for size in self.sizes]
        said = Counter(caption for caption in self.captions if caption)
        return {
            "form": form,
            "pictures": len(self.sizes),
            "broken": len(self.broken),
            "too_small": sum(min(size) < side for size in self.sizes),
            "square": sum(width == height for width, height in self.sizes),
            "shorter_side": spread([min(size) for size in self.sizes]),
            "longer_side": spread([max(size) for size in self.sizes]),
            "kept_in_squares": mean(squares),
            "kept_in_buckets": mean([kept(*pair) for pair in zip(self.sizes, found, strict=True)]),
            "buckets": {f"{w}x{h}": count for (w, h), count in Counter(found).most_common()},
            "without_caption": len(self.captions) - said.total(),
            "different_captions": len(said),
            "words": spread([len(caption.split()) for caption in said.elements()]),
        }


def mean(shares: Sequence[float]) -> float | None:
    """To three digits; None of nothing."""
    return round(statistics.fmean(shares), 3) if shares else None


def spread(values: Sequence[int]) -> dict[str, float] | None:
    """Least, median and most; None of nothing."""
    return {"least": min(values), "median": statistics.median(values), "most": max(values)} if values else None


def check(collection: Collection, *, tiles: int = 0) -> Check:
    """Open every picture of a collection, and keep `tiles` to twice as many of them, small, from all over it."""
    found, every = Check(), 1
    for number, record in enumerate(tqdm(collection.records(), unit="picture", mininterval=5.0, disable=None)):
        try:
            picture = picture_of(record)
        except ValueError as error:
            found.broken.append(f"{record.name}: {error}")
            continue
        found.sizes.append(picture.size)
        found.captions.append(record.caption)
        if tiles and number % every == 0:
            found.tiles.append(_tile(picture, record.caption))
            if len(found.tiles) == 2 * tiles:  # how many there will be is not known before
                found.tiles, every = found.tiles[::2], 2 * every
    return found


def _tile(picture: Image.Image, caption: str) -> Image.Image:
    """A picture as it is, shrunk into a square, its caption under it."""
    tile = Image.new("RGB", (TILE, TILE + CAPTION_HEIGHT), "white")
    picture.thumbnail((TILE, TILE))
    tile.paste(picture, ((TILE - picture.width) // 2, (TILE - picture.height) // 2))
    letters = 21  # of the built-in font, a line
    lines = [caption[:letters], caption[letters : 2 * letters]]
    ImageDraw.Draw(tile).multiline_text((1, TILE), "\n".join(lines), fill="black")
    return tile


def write_sheet(tiles: Sequence[Image.Image], path: Path) -> Path:
    """The tiles side by side as a JPEG."""
    columns = min(COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * (TILE + 4), rows * (TILE + CAPTION_HEIGHT + 4)), "white")
    for i, tile in enumerate(tiles):
        sheet.paste(tile, (i % columns * (TILE + 4), i // columns * (TILE + CAPTION_HEIGHT + 4)))
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as draft:
        sheet.save(draft, "JPEG", quality=88)
    return path


def advice(figures: dict[str, Any], side: int) -> list[str]:
    """What to do about it, a sentence each; nothing where all is well."""
    pictures, said = figures["pictures"], []
    if not pictures:
        return ["no picture can be read: nothing can be trained on"]
    if figures["too_small"]:
        said.append(f"{figures['too_small']} pictures are smaller than {side} px and will be left out (--side)")
    if figures["without_caption"]:
        said.append(f"{figures['without_caption']} pictures have no caption: they teach drawing without a prompt only")
    if figures["different_captions"] == 1 < pictures:
        said.append("all captions are the same: prompts will change nothing")
    if pictures < FEW:
        said.append(f"fewer than {FEW} pictures: fine-tune with LoRA rather than train from nothing")
    if figures["square"] < pictures:
        shares = f"{figures['kept_in_squares']:.0%} of a picture in the mean; buckets = {{}} in [data] would keep"
        shares += f" {figures['kept_in_buckets']:.0%}, in {len(figures['buckets'])} shapes"
        said.append(f"{pictures - figures['square']} pictures are not square: their middle is used, {shares}")
        said += _few(figures["buckets"])
    return said


def _few(buckets: dict[str, int]) -> list[str]:
    few = [f"{name} ({count})" for name, count in buckets.items() if count < FEW_OF_A_BUCKET]
    if not few:
        return []
    return [
        f"buckets of fewer than {FEW_OF_A_BUCKET} pictures, whose batches repeat them: {', '.join(few)}; a larger"
        " --bucket-step or a smaller --max-aspect-ratio joins them to others"
    ]
