"""How do people's pictures become what training reads? Each fitted once to one square size, kept as chunks by memory map.

The chunks are those of data.py. Each says how far in the collection it got, so that preparing resumes where it was
killed; what cannot be read is left out, and said. The embeddings of the captions come beside them (caption_files.py).

Shapes: s the side, n pictures of a chunk.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from imagen_core.whole_files import whole, write
from imagen_pictures.picture_colours import as_picture
from imagen_pictures.picture_files import opened

from .data import PictureCache, Rendered
from .own_pictures import Collection, Record

CHUNK = 256
DONE = "done.json"


@dataclass(frozen=True, kw_only=True)
class OwnSet:
    """The part of a collection that is trained on, or held out, as data.py reads it."""

    name: str
    side: int
    window: int | None = None
    chunk: int = CHUNK
    layouts: tuple[str, ...] = ()

    def rendered(self, index: int) -> Rendered:
        raise ValueError(f"pictures of {self.name} are prepared from a collection, not rendered: run `prepare`")


def picture_of(record: Record) -> Image.Image:
    """A record's picture, upright, in sRGB, transparent parts white. ValueError: not there, damaged, no picture."""
    with opened(record.open(), record.name) as file:
        picture = as_picture(file, record.name)
    if picture.mode == "RGBA":
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")


def fitted(picture: Image.Image, side: int) -> np.ndarray:
    """The middle square of a picture as (s s 3) uint8, shrunk by area. ValueError: it is smaller than that."""
    if min(picture.size) < side:
        raise ValueError(f"{picture.width}x{picture.height} is smaller than the {side} px of training")
    width, height = picture.size
    edge = min(width, height)
    left, top = (width - edge) / 2, (height - edge) / 2
    box = (left, top, left + edge, top + edge)
    return np.asarray(picture.resize((side, side), Image.Resampling.BOX, box=box))


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """The caches of a collection; `held_out` is None where no picture fell to it. left_out: "name: why"."""

    shown: PictureCache
    held_out: PictureCache | None
    left_out: list[str]


@dataclass
class _Chunk:
    """What is gathered for one file."""

    pixels: list[np.ndarray] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def prepare(
    collection: Collection,
    cache_dir: Path,
    *,
    side: int,
    held_out: float = 0.0,
    say: Callable[[str], None] = print,
) -> Prepared:
    """Fit every picture to `side` under `cache_dir`, a share of them held out by their names; what is done is kept.

    ValueError: there is no picture that can be trained on.
    """
    asked = json.dumps([collection.fingerprint(), collection.caption, side, held_out, CHUNK])
    folder = cache_dir / f"own-{hashlib.sha256(asked.encode()).hexdigest()[:16]}"
    left_out: list[str] = []
    for name in ("shown", "held_out") if held_out else ("shown",):
        left_out += _prepare_part(collection, folder / name, side, held_out, is_held=name == "held_out")
    if left_out:
        write(folder / "left_out.txt", ("\n".join(left_out) + "\n").encode())
        say(f"{len(left_out)} pictures are left out, see {folder / 'left_out.txt'}: {left_out[0]}")
    if not (folder / "shown" / "00000.npy").exists():
        raise ValueError(f"no picture of {collection.place} can be trained on: `imagen data check` says why")
    there = [name for name in ("shown", "held_out") if (folder / name / "00000.npy").exists()]
    caches = {name: PictureCache(folder, OwnSet(name=name, side=side, chunk=CHUNK)) for name in there}
    return Prepared(shown=caches["shown"], held_out=caches.get("held_out"), left_out=left_out)


def is_held_out(name: str, share: float) -> bool:
    """Whether a record is never trained on: decided by its name alone, whatever else is in the collection."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) < share * 2**32


def _prepare_part(collection: Collection, folder: Path, side: int, share: float, *, is_held: bool) -> list[str]:
    """Write the chunks of one part; returns what was left out."""
    if not (folder / DONE).exists():
        folder.mkdir(parents=True, exist_ok=True)
        index, start = _reached(folder)
        chunk, end = _Chunk(), start
        for number, record in _from(start, collection.records(), folder.name):
            end = number + 1
            if is_held_out(record.name, share) == is_held:
                _take(record, side, chunk)
            if len(chunk.pixels) == CHUNK:
                _write_chunk(folder, index, chunk, end)
                index, chunk = index + 1, _Chunk()
        if chunk.pixels:
            _write_chunk(folder, index, chunk, end)
            chunk = _Chunk()
        write(folder / DONE, json.dumps({"left_out": chunk.left_out}).encode())
    return [line for file in sorted(folder.glob("*.json")) for line in json.loads(file.read_text())["left_out"]]


def _reached(folder: Path) -> tuple[int, int]:
    """How many chunks are there, and at which record the next one begins."""
    count = len(list(folder.glob("?????.npy")))
    return count, json.loads((folder / f"{count - 1:05d}.json").read_text())["next"] if count else 0


def _from(start: int, records: Iterator[Record], name: str) -> Iterator[tuple[int, Record]]:
    """Records and their numbers, those before `start` passed over without being opened."""
    for number, record in enumerate(tqdm(records, unit="picture", mininterval=5.0, desc=name, disable=None)):
        if number >= start:
            yield number, record


def _take(record: Record, side: int, chunk: _Chunk) -> None:
    try:
        chunk.pixels.append(fitted(picture_of(record), side))
    except ValueError as error:
        chunk.left_out.append(f"{record.name}: {error}")
    else:
        chunk.captions.append(record.caption)


def _write_chunk(folder: Path, index: int, chunk: _Chunk, end: int) -> None:
    about = {"captions": chunk.captions, "labels": {}, "left_out": chunk.left_out, "next": end}
    write(folder / f"{index:05d}.json", json.dumps(about).encode())
    with whole(folder / f"{index:05d}.npy") as draft, open(draft, "wb") as file:
        np.save(file, np.stack(chunk.pixels), allow_pickle=False)
