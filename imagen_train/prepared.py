"""How do people's pictures become what training reads? Each fitted once to its size, kept as chunks by memory map.

The chunks are those of data.py, each of one bucket. Each says which records of the collection it is about, so that
preparing resumes where it was killed; what cannot be read is left out, and said. The embeddings of the captions come
beside them (caption_files.py).

Shapes: s the side, h w a bucket's, n pictures of a chunk.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from imagen_core.whole_files import whole, write
from imagen_pictures.picture_colours import as_picture
from imagen_pictures.picture_files import opened

from .buckets import Buckets, Size
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


def fitted(picture: Image.Image, size: Size) -> np.ndarray:
    """The middle of a picture in the shape of `size` (w, h), as (h w 3) uint8, shrunk by area. ValueError: it is smaller."""
    (width, height), (w, h) = picture.size, size
    if width < w or height < h:
        wanted = f"{w} px of training" if w == h else f"{w}x{h} px of its bucket"
        raise ValueError(f"{width}x{height} is smaller than the {wanted}")
    narrow = width * h <= height * w
    across, down = (width, width * h / w) if narrow else (height * w / h, height)
    left, top = (width - across) / 2, (height - down) / 2
    box = (left, top, left + across, top + down)
    return np.asarray(picture.resize(size, Image.Resampling.BOX, box=box))


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
    records: list[int] = field(default_factory=list)  # their numbers in the collection


def prepare(
    collection: Collection,
    cache_dir: Path,
    *,
    side: int,
    held_out: float = 0.0,
    buckets: Buckets | None = None,
    say: Callable[[str], None] = print,
) -> Prepared:
    """Fit every picture to `side` under `cache_dir`, a share of them held out by their names; what is done is kept.

    buckets: shapes that pictures may keep; None makes all of them square. ValueError: there is no picture that can be
    trained on.
    """
    asked = [collection.fingerprint(), collection.caption, side, held_out, CHUNK]
    asked = json.dumps(asked if buckets is None else [*asked, asdict(buckets)])
    folder = cache_dir / f"own-{hashlib.sha256(asked.encode()).hexdigest()[:16]}"
    left_out: list[str] = []
    for name in ("shown", "held_out") if held_out else ("shown",):
        part = _Part(folder / name, side, buckets)
        left_out += part.prepared(
            collection, lambda record, held=name == "held_out": is_held_out(record.name, held_out) == held
        )
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


class _Part:
    """Writes the chunks of the part of a collection that is trained on, or held out."""

    def __init__(self, folder: Path, side: int, buckets: Buckets | None):
        self.folder, self.side, self.buckets = folder, side, buckets
        self.open: dict[Size, _Chunk] = {}  # what is not yet a file
        self.left_out: dict[int, str] = {}  # record and why, until a file says so

    def prepared(self, collection: Collection, belongs: Callable[[Record], bool]) -> list[str]:
        """Have every record's picture in a chunk, those that are there left alone; returns what was left out."""
        if not (self.folder / DONE).exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._go_on(collection, belongs)
        return [
            line for file in sorted(self.folder.glob("*.json")) for line in json.loads(file.read_text())["left_out"]
        ]

    def _go_on(self, collection: Collection, belongs: Callable[[Record], bool]) -> None:
        self.count = len(list(self.folder.glob("?????.npy")))
        done = {number for index in range(self.count) for number in _records(self._file(index, "json"))}
        records = tqdm(collection.records(), unit="picture", mininterval=5.0, desc=self.folder.name, disable=None)
        for number, record in enumerate(records):
            if number not in done and belongs(record):
                self._take(number, record)
        for bucket in list(self.open):
            self._close(bucket)
        write(self.folder / DONE, json.dumps({"left_out": list(self.left_out.values())}).encode())

    def _take(self, number: int, record: Record) -> None:
        try:
            picture = picture_of(record)
            bucket = self.buckets.of(picture.size, self.side) if self.buckets else (self.side, self.side)
            pixels = fitted(picture, bucket)
        except ValueError as error:
            self.left_out[number] = f"{record.name}: {error}"
            return
        chunk = self.open.setdefault(bucket, _Chunk())
        chunk.pixels.append(pixels)
        chunk.captions.append(record.caption)
        chunk.records.append(number)
        if len(chunk.pixels) == CHUNK:
            self._close(bucket)

    def _close(self, bucket: Size) -> None:
        """Make a bucket's open chunk a file, with all that was left out until now."""
        chunk = self.open.pop(bucket)
        about = {"captions": chunk.captions, "labels": {}, "left_out": list(self.left_out.values())}
        about["records"] = [*chunk.records, *self.left_out]
        _write_chunk(self._file(self.count, "json"), about, self._file(self.count, "npy"), chunk.pixels)
        self.count, self.left_out = self.count + 1, {}

    def _file(self, index: int, suffix: str) -> Path:
        return self.folder / f"{index:05d}.{suffix}"


def _records(file: Path) -> Iterable[int]:
    """The numbers of the records that a chunk says it is about; one from before buckets: of all before its `next`."""
    about = json.loads(file.read_text())
    return about["records"] if "records" in about else range(about["next"])


def _write_chunk(about_file: Path, about: dict[str, Any], file: Path, pixels: list[np.ndarray]) -> None:
    """The pictures last: a chunk is there when they are."""
    write(about_file, json.dumps(about).encode())
    with whole(file) as draft, open(draft, "wb") as opened_file:
        np.save(opened_file, np.stack(pixels), allow_pickle=False)
