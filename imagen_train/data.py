"""Where do training pictures come from? Rendered once, kept as uint8 chunks on disk, read by memory map.

A chunk is two files, `00012.json` (captions, labels) and `00012.npy` (n h w 3), all its pictures of one shape. The .npy
is moved into place last, so a chunk is there whole or not at all: rendering resumes where it stopped, and trainers may
read while more is rendered.

Shapes: b pictures of a batch, n of a chunk, h w pixels.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from imagen_core.super_resolution import resize
from imagen_core.whole_files import whole, write

from .identities import KINDS as IDENTITIES
from .options import default_models_dir, default_state_root
from .rendered import Rendered
from .scenes import SceneBatch, sample_scenes
from .scenes.depth import nearness
from .scenes.renderer import render
from .scenes.textures import sample_textures
from .scenes.vocabulary import LAYOUTS as SCENE_LAYOUTS
from .stickers.mixes import CROWDED, FIRST, WIDE
from .stickers.scene import LAYOUTS, Mix, Scene
from .stickers.solids import SOLIDS
from .windows import detailed_window, liveliness, lively_windows, turned

if TYPE_CHECKING:
    from .stickers.pictures import Library
    from .stickers.vectors import VectorLibrary


class PictureSource(Protocol):
    """Where a set of training pictures comes from. `chunk`: pictures a file; chunk `index` is always the same ones.

    `window`: the side of what is kept of a picture, where it is less than `side`. `layouts`: what the label "layout"
    counts; empty for pictures without that label.
    """

    name: str
    side: int
    window: int | None
    chunk: int

    @property
    def layouts(self) -> tuple[str, ...]: ...

    def rendered(self, index: int) -> Rendered: ...


@dataclass(frozen=True, kw_only=True)
class PictureKind:
    """One set of rendered scenes. `window`: keep only a window of this side, where detail is; None keeps the whole frame.

    textures: no scenes but dead leaves, gradients, checks, words and noise fields, without captions.
    """

    name: str
    side: int
    window: int | None = None
    held_out: bool = False
    textures: bool = False
    chunk: int = 512
    first_seed: int = 0

    @property
    def layouts(self) -> tuple[str, ...]:
        return () if self.textures else SCENE_LAYOUTS

    def rendered(self, index: int) -> Rendered:
        pixels, batch = render_chunk(self, index)
        if batch is None:
            return Rendered(pixels, [""] * len(pixels), {})
        return Rendered(pixels, batch.captions, {name: values.tolist() for name, values in batch.labels.items()})

    def depths(self, index: int) -> np.ndarray:
        """How near what lies there is in chunk `index`, kept whole: (n h w) uint8. ValueError for flat textures."""
        if self.textures:
            raise ValueError(f"{self.name} are flat textures: nothing in them is nearer than the rest")
        batch = sample_scenes(self.chunk, seed=self.first_seed + index, held_out=self.held_out)
        return (nearness(batch, self.side) * 255).round().byte().numpy()


@dataclass(frozen=True, kw_only=True)
class DrawingKind:
    """Pictures composed of drawings of named things (`imagen data stickers`). tier: which things take part.

    held_out: colours that training never shows, on all things. all_things: training's colours, on all things.
    redrawn_by: the base (a file of models/imagen-mini) that draws the small pictures anew; None: they are shrunk by area.
    only: the nouns of the things that take part, where not all do.
    """

    name: str
    side: int
    window: int | None = None
    chunk: int = 2048
    first_seed: int = 0
    held_out: bool = False
    all_things: bool = False
    tier: int = 1
    mix: Mix = Mix()
    only: tuple[str, ...] = ()
    redrawn_by: str | None = None
    layouts: ClassVar[tuple[str, ...]] = LAYOUTS

    def rendered(self, index: int) -> Rendered:
        from .stickers.pictures import batch, labels

        pixels, captions, scenes = batch(self.library(), *self._asked(index), **self._choice(), side=self.side)
        if self.window:
            generator = torch.Generator().manual_seed(index)
            cut = [w for picture in pixels for w in lively_windows(picture, self.window, WINDOWS, generator)]
            return Rendered(np.stack(cut), [each.text for each in captions for _ in range(WINDOWS)], {})
        rows, texts = [labels(scene) for scene in scenes], [each.text for each in captions]
        small = self._redrawn(pixels, texts, index) if self.redrawn_by else None
        return Rendered(pixels, texts, {name: [row[name] for row in rows] for name in rows[0]}, small)

    def _redrawn(self, pixels: np.ndarray, captions: list[str], index: int) -> np.ndarray:
        from .stickers.redraw import redrawn

        small = resize(to_float(pixels), (self.side // 4, self.side // 4))
        return redrawn(small, captions, default_models_dir(), self.redrawn_by, self.chunk * (self.first_seed + index))

    def _asked(self, index: int) -> tuple[int, int]:
        """How many pictures a chunk is made of, and its seed."""
        return self.chunk // WINDOWS if self.window else self.chunk, self.first_seed + index

    def _choice(self) -> dict[str, Any]:
        shown = {"tier": self.tier, "only": self.only}
        return shown | {"mix": self.mix, "held_out": self.held_out, "all_things": self.all_things}

    def scenes(self, index: int) -> list[Scene]:
        """What chunk `index` shows; of windows, what they are cut from."""
        from .stickers.pictures import described

        return described(self.library(), *self._asked(index), **self._choice())[0]

    def segments(self, index: int) -> np.ndarray:
        """What lies where in chunk `index`, kept whole: (n h w) uint8, 0 the backdrop."""
        from .stickers.pictures import segments

        library = self.library()
        return np.stack([segments(scene, library, self.side) for scene in self.scenes(index)])

    def depths(self, index: int) -> np.ndarray:
        """How near what lies there is in chunk `index`, kept whole: (n h w) uint8, 0 the backdrop."""
        from .stickers.pictures import depths

        library = self.library()
        return np.stack([depths(scene, library, self.side) for scene in self.scenes(index)])

    def library(self) -> Library | VectorLibrary:
        """Small pictures are made of rendered masters, large ones of the drawings themselves."""
        from .stickers.pictures import open_library
        from .stickers.vectors import open_vectors

        folder = drawings_folder()
        return open_library(folder) if self.side <= 64 else open_vectors(folder / "packages", side=self.side)


THINGS64 = "things64.safetensors"
WINDOWS = 4  # of one large picture: drawing it costs more than cutting it

KINDS: dict[str, PictureSource] = {
    kind.name: kind
    for kind in (
        PictureKind(name="base64", side=64),
        PictureKind(name="base64_held_out", side=64, held_out=True),
        PictureKind(name="base64_pairs", side=64, held_out=True, first_seed=500_000),  # for the classifier alone
        PictureKind(name="full256", side=256, chunk=64, first_seed=1_000_000),
        PictureKind(name="full256_held_out", side=256, chunk=32, held_out=True),
        PictureKind(name="textures256", side=256, chunk=60, first_seed=3_000_000, textures=True),
        PictureKind(name="window1024", side=1024, window=256, chunk=64, first_seed=2_000_000),
        PictureKind(name="window1024_held_out", side=1024, window=256, chunk=32, held_out=True),
        DrawingKind(name="things64_first", side=64, mix=FIRST),
        DrawingKind(name="things64_first_held_out", side=64, chunk=512, first_seed=500_000, held_out=True, mix=FIRST),
        DrawingKind(name="things64_wide", side=64, tier=2, mix=WIDE),
        DrawingKind(
            name="things64_wide_held_out", side=64, chunk=512, first_seed=500_000, tier=2, held_out=True, mix=WIDE
        ),
        DrawingKind(
            name="things64_wide_test", side=64, chunk=512, first_seed=700_000, tier=2, all_things=True, mix=WIDE
        ),
        DrawingKind(name="things64_crowded", side=64, first_seed=5_000_000, tier=2, mix=CROWDED),
        DrawingKind(name="solids64", side=64, first_seed=4_000_000, mix=WIDE, only=tuple(SOLIDS)),
        DrawingKind(name="things256", side=256, chunk=128, first_seed=1_000_000, tier=2),
        DrawingKind(
            name="things256_redrawn", side=256, chunk=128, first_seed=3_500_000, mix=FIRST, redrawn_by=THINGS64
        ),
        DrawingKind(name="things256_held_out", side=256, chunk=32, first_seed=1_500_000, tier=2, held_out=True),
        DrawingKind(name="things1024", side=1024, window=256, chunk=64, first_seed=2_000_000, tier=2),
        DrawingKind(
            name="things1024_held_out", side=1024, window=256, chunk=32, first_seed=2_500_000, tier=2, held_out=True
        ),
        *IDENTITIES,
    )
}


def kind_named(name: str) -> PictureSource:
    """ValueError for a name that no set of pictures has."""
    if name not in KINDS:
        raise ValueError(f"there is no set of pictures {name!r}: expected one of {', '.join(KINDS)}")
    return KINDS[name]


def drawings_folder() -> Path:
    """Where `imagen data stickers` keeps the rendered drawings."""
    return default_state_root() / "stickers"


def render_chunk(kind: PictureKind, index: int) -> tuple[np.ndarray, SceneBatch | None]:
    """Chunk `index` of a kind: pictures (n h w 3) uint8 and their scenes (None for textures); always the same ones."""
    if kind.textures:
        return _to_pixels(sample_textures(kind.chunk, kind.side, kind.first_seed + index)), None
    batch = sample_scenes(kind.chunk, seed=kind.first_seed + index, held_out=kind.held_out)
    if kind.window is None:
        pictures = render(batch, kind.side)
    else:
        generator = torch.Generator().manual_seed(index)
        scenes = [batch[i : i + 1] for i in range(len(batch))]
        windows = [detailed_window(s, kind.side, kind.window, generator) for s in scenes]
        pictures = torch.cat([render(s, kind.side, window=w) for s, w in zip(scenes, windows, strict=True)])
    return _to_pixels(pictures), batch


def _to_pixels(pictures: Tensor) -> np.ndarray:
    """(n 3 h w) in [-1, 1] -> (n h w 3) uint8."""
    pixels = ((pictures + 1) * 127.5).round().clamp(0, 255).byte()
    return pixels.permute(0, 2, 3, 1).contiguous().numpy()


def render_pictures(kind: PictureSource, count: int, cache_dir: Path, *, part: int = 0, parts: int = 1) -> None:
    """Make sure that at least `count` pictures of a kind are in the cache; `parts` processes may share the work."""
    from tqdm import tqdm

    folder = cache_dir / kind.name
    folder.mkdir(parents=True, exist_ok=True)
    chunks = range(part, -(-count // kind.chunk), parts)
    for index in tqdm(chunks, unit="chunk", mininterval=10.0, desc=kind.name):
        if (folder / f"{index:05d}.npy").exists():
            continue
        chunk = kind.rendered(index)
        about = {"captions": chunk.captions, "labels": chunk.labels}
        write(folder / f"{index:05d}.json", json.dumps(about).encode())
        if chunk.small is not None:
            _write_pixels(folder / f"{index:05d}.small.npy", chunk.small)
        _write_pixels(folder / f"{index:05d}.npy", chunk.pixels)


def _write_pixels(path: Path, pixels: np.ndarray) -> None:
    with whole(path) as draft, open(draft, "wb") as file:
        np.save(file, pixels, allow_pickle=False)


def to_float(pixels: np.ndarray) -> Tensor:
    """uint8 (b h w 3) -> float32 (b 3 h w) in [-1, 1], channels_last in memory."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


class PictureCache:
    """Read access to one kind's pictures; `refresh()` takes in what has been rendered since."""

    def __init__(self, cache_dir: Path, source: str | PictureSource, *, limit: int | None = None):
        self.kind = kind_named(source) if isinstance(source, str) else source
        self.folder, self.limit = cache_dir / self.kind.name, limit
        self.captions: list[str] = []
        self.labels: dict[str, list[int]] = {}
        self.chunks: list[np.ndarray] = []  # each of one shape
        self.starts: list[int] = []  # the number of each chunk's first picture
        self._buckets: dict[tuple[int, int], Tensor] = {}
        self.small: list[np.ndarray | None] = []  # of each chunk, the pictures as a base drew them
        self.refresh()
        if not self.chunks:
            raise ValueError(f"no pictures in {self.folder}: run `imagen train pictures --kind {self.kind.name}` first")

    def __len__(self) -> int:
        return len(self.captions)

    def refresh(self) -> None:
        """Append chunks that are complete by now, in order."""
        while (path := self.folder / f"{len(self.chunks):05d}.npy").exists():
            if self.limit is not None and len(self) >= self.limit:
                return
            about = json.loads(path.with_suffix(".json").read_text())
            small = path.with_suffix(".small.npy")
            self.small.append(np.load(small, mmap_mode="r", allow_pickle=False) if small.exists() else None)
            self.chunks.append(np.load(path, mmap_mode="r", allow_pickle=False))
            self.starts.append(len(self))
            self.captions += about["captions"]
            for name, values in about["labels"].items():
                self.labels.setdefault(name, []).extend(values)

    def place(self, index: int) -> tuple[int, int]:
        """In which chunk a picture lies, and at which place there."""
        chunk = bisect_right(self.starts, index) - 1
        return chunk, index - self.starts[chunk]

    def span(self, chunk: int) -> range:
        """The numbers of a chunk's pictures."""
        return range(self.starts[chunk], self.starts[chunk + 1] if chunk + 1 < len(self.starts) else len(self))

    @property
    def buckets(self) -> dict[tuple[int, int], Tensor]:
        """The numbers of pictures (n,) by their (height, width)."""
        if sum(map(len, self._buckets.values())) < len(self):
            spans: dict[tuple[int, int], list[Tensor]] = {}
            for number, chunk in enumerate(self.chunks):
                span = self.span(number)
                spans.setdefault(chunk.shape[1:3], []).append(torch.arange(span.start, span.stop))
            self._buckets = {shape: torch.cat(parts) for shape, parts in spans.items()}
        return self._buckets

    def drawn(self, count: int, generator: torch.Generator) -> Tensor:
        """The numbers (count,) of pictures of one shape at random, so that each of all pictures comes as often."""
        if len(self.buckets) == 1:
            return torch.randint(len(self), (count,), generator=generator)
        picked = self._picture(int(torch.randint(len(self), (), generator=generator)))
        alike = self.buckets[picked.shape[:2]]
        return alike[torch.randint(len(alike), (count,), generator=generator)]

    def alike(self, count: int) -> list[int]:
        """The numbers of the first pictures that have the usual shape, at most `count`."""
        return self.buckets[self.usual_shape][:count].tolist()

    @property
    def usual_shape(self) -> tuple[int, int]:
        """(height, width) of most pictures."""
        buckets = self.buckets
        return max(buckets, key=lambda shape: len(buckets[shape]))

    def _picture(self, index: int) -> np.ndarray:
        chunk, place = self.place(index)
        return self.chunks[chunk][place]

    def pictures(self, indices: Sequence[int]) -> Tensor:
        """(b 3 h w) float32 in [-1, 1], of pictures of one shape."""
        return to_float(np.stack([self._picture(i) for i in indices]))

    def _small(self, index: int) -> np.ndarray | None:
        chunk, place = self.place(index)
        return None if self.small[chunk] is None else self.small[chunk][place]

    def crops(
        self, count: int, side: int, generator: torch.Generator, *, tries: int = 3, grid: int = 4, turn: bool = True
    ) -> Crops:
        """`count` crops, turned at random if `turn`, each the liveliest of `tries` (one in four: the first).

        Offsets are multiples of `grid`, so that shrinking a crop equals cropping the shrunk picture.
        """
        chosen, drawn = [], {}  # crops, and of some (by place) what a base made of them
        for index in torch.randint(len(self), (count,), generator=generator).tolist():
            picture = self._picture(index)
            offsets = _offsets(picture.shape[:2], side, tries, grid, generator).tolist()
            pick_first = bool(torch.rand((), generator=generator) < 0.25)
            tried = [(_cut(picture, y, x, side), (y, x)) for y, x in offsets[: 1 if pick_first else tries]]
            liveliest, (y, x) = max(tried, key=lambda crop: liveliness(crop[0]))
            way = int(torch.randint(8, (), generator=generator)) if turn else 0
            if (small := self._small(index)) is not None:
                drawn[len(chosen)] = turned(_cut(small, y // 4, x // 4, side // 4), way)
            chosen.append(turned(liveliest, way))
        return _paired(to_float(np.stack(chosen)), drawn)


class Crops(NamedTuple):
    """Parts (b 3 s s) of pictures, and the same parts four times smaller (b 3 s/4 s/4); float32 in [-1, 1]."""

    large: Tensor
    small: Tensor


def _paired(large: Tensor, drawn: dict[int, np.ndarray]) -> Crops:
    """Crops (b 3 s s) with smaller ones: `drawn` (s/4 s/4 3) where there is one, else shrunk by area."""
    small = resize(large, (large.shape[-2] // 4, large.shape[-1] // 4))
    for place, pixels in drawn.items():
        small[place] = to_float(pixels[None])[0]
    return Crops(large, small)


def _cut(picture: np.ndarray, y: int, x: int, side: int) -> np.ndarray:
    return picture[y : y + side, x : x + side]


def _offsets(shape: tuple[int, int], side: int, tries: int, grid: int, generator: torch.Generator) -> Tensor:
    """Where crops of a picture (h, w) begin: (tries 2) of row and column, multiples of `grid`."""
    steps = [(length - side) // grid + 1 for length in shape]
    if steps[0] == steps[1]:
        return torch.randint(steps[0], (tries, 2), generator=generator) * grid
    return torch.cat([torch.randint(count, (tries, 1), generator=generator) for count in steps], 1) * grid
