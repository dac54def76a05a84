"""Which pixels does a scene become? Drawings are recoloured at the size they have, and laid over the backdrop.

Shapes: s the picture's side, m a master drawing's; RGBA is uint8 with straight alpha.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from imagen_core.whole_files import whole, write

from . import backdrops
from .captions import Caption, write_caption
from .colors import COLORS, Array, recolor
from .names import Vocabulary, codes_by_label, things
from .packages import obtain
from .rendering import fitted, render
from .scene import LAYOUTS, RELATIONS, STYLES, Mix, Placed, Scene, SceneSampler
from .solids import drawings_and_solids
from .sources import NAMES, PICTURES, Package
from .vectors import VectorLibrary

FARTHEST = 0.3  # how near the smallest drawing is, of 1: clearly before the backdrop
MASTER = 96  # px: a little more than a drawing ever takes of a 64 px picture


@dataclass(frozen=True)
class Library(Vocabulary):
    """Rendered drawings: masters[style] (n m m 4), and which row of it a thing is, by index in the vocabulary."""

    masters: dict[str, np.ndarray]
    rows: dict[str, dict[int, int]]

    @property
    def found(self) -> dict[str, dict[int, int]]:
        return self.rows

    def draw(self, style: str, thing: int, size: int) -> np.ndarray:
        """RGBA (size size 4) uint8, straight alpha."""
        return fitted(Image.fromarray(np.asarray(self.masters[style][self.rows[style][thing]])), size)


def build(
    root: Path,
    packages: Path,
    *,
    pictures: tuple[Package, ...] = PICTURES,
    names: Package = NAMES[0],
    side: int = MASTER,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[Library, dict[str, str]]:
    """Render every listed thing in every style into `root` (what is there already is kept), and open the library.

    Also returns what is left out, and why. ValueError: a package cannot be had, or is another one.
    """
    codes = codes_by_label(obtain(names, packages))
    skipped = {thing.noun: f"no emoji is called {thing.label}" for thing in things() if thing.label not in codes}
    for package in pictures:
        if not _is_current(root / f"{package.key}.{side}.json"):
            say(f"rendering {package.name} {package.version}")
            _render_package(package, obtain(package, packages), codes, root, side)
    library = open_library(root, side, pictures)
    for style, rows in library.rows.items():
        for i, thing in enumerate(library.vocabulary):
            if i not in rows:
                skipped.setdefault(thing.noun, f"the {style} set has no drawing of it")
    return library, skipped


def _is_current(index: Path) -> bool:
    """Whether the rendered set was made from the list of things as it is now."""
    if not index.is_file():
        return False
    try:
        about = json.loads(index.read_text())
    except ValueError:
        return False
    return isinstance(about, dict) and about.get("asked") == [thing.label for thing in things()]


def _render_package(package: Package, path: Path, codes: dict[str, str], root: Path, side: int) -> None:
    wanted = {codes[thing.label]: thing.noun for thing in things() if thing.label in codes}
    found = {wanted[d.code]: d for d in drawings_and_solids(package, path) if d.code in wanted}
    root.mkdir(parents=True, exist_ok=True)
    pixels = np.stack([render(drawing, side) for drawing in found.values()])
    about = {"nouns": list(found), "asked": [thing.label for thing in things()], "version": package.version}
    name = f"{package.key}.{side}"
    with whole(root / f"{name}.npy") as draft, open(draft, "wb") as file:
        np.save(file, pixels, allow_pickle=False)
    write(root / f"{name}.json", json.dumps(about).encode())


def open_library(root: Path, side: int = MASTER, pictures: tuple[Package, ...] = PICTURES) -> Library:
    """The library that `build` made. FileNotFoundError: it is not there."""
    vocabulary = things()
    index = {thing.noun: i for i, thing in enumerate(vocabulary)}
    masters, rows = {}, {}
    for package in pictures:
        file = root / f"{package.key}.{side}.json"
        if not file.is_file():
            raise FileNotFoundError(f"no drawings of {package.name} in {root}: run `imagen data stickers` first")
        nouns = json.loads(file.read_text())["nouns"]
        masters[package.style] = np.load(file.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
        rows[package.style] = {index[noun]: row for row, noun in enumerate(nouns) if noun in index}
    return Library(vocabulary, masters, rows)


def paint(scene: Scene, library: Library | VectorLibrary, side: int = 64) -> np.ndarray:
    """The scene's picture (s s 3), uint8."""
    canvas = backdrops.paint(scene.backdrop, side, scene.seed, gradient=scene.gradient)
    for placed in scene.placed:
        _lay(canvas, placed, library.draw(scene.style, placed.thing, _size(placed, side)))
    return (canvas.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _lay(canvas: Array, placed: Placed, drawing: np.ndarray) -> None:
    """Put one drawing (z z 4) on the canvas (s s 3), in place; what would leave the picture is cut off."""
    drawing = np.asarray(drawing[:, ::-1] if placed.flipped else drawing, np.float32) / 255
    rgb, alpha = drawing[..., :3], drawing[..., 3]
    if placed.color:
        rgb = recolor(rgb, alpha, placed.color)
    where, part = _where(placed, canvas.shape[0], drawing.shape[0])
    over = alpha[part][..., None]
    canvas[where] = canvas[where] * (1 - over) + rgb[part] * over


def _where(placed: Placed, side: int, size: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Which part of the picture a drawing of this size covers, and which part of the drawing does."""
    left, top = round(placed.x * side - size / 2), round(placed.y * side - size / 2)
    x0, y0, x1, y1 = max(0, left), max(0, top), min(side, left + size), min(side, top + size)
    return np.s_[y0:y1, x0:x1], np.s_[y0 - top : y1 - top, x0 - left : x1 - left]


def segments(scene: Scene, library: Library | VectorLibrary, side: int = 64) -> np.ndarray:
    """What lies where in the scene's picture, (s s) uint8: 0 the backdrop, 1 the first thing that is placed, and so on."""
    found = np.zeros((side, side), np.uint8)
    for number, placed in enumerate(scene.placed, start=1):
        drawing = np.asarray(library.draw(scene.style, placed.thing, _size(placed, side)))
        alpha = drawing[:, ::-1, 3] if placed.flipped else drawing[..., 3]
        where, part = _where(placed, side, len(drawing))
        found[where][alpha[part] > 127] = number
    return found


def depths(scene: Scene, library: Library | VectorLibrary, side: int = 64) -> np.ndarray:
    """How near what lies there is in the scene's picture, (s s) uint8: 0 the backdrop, 255 nearest.

    Drawings are flat: each is as near as it is large, as perspective has it, and one that lies over another a little nearer.
    """
    order = np.linspace(0.0, 1.0, len(scene.placed)) if len(scene.placed) > 1 else np.ones(1)
    sizes = np.array([min(1.0, placed.size) for placed in scene.placed])
    levels = np.concatenate([[0.0], FARTHEST + (1.0 - FARTHEST) * (0.9 * sizes + 0.1 * order)])
    return (levels[segments(scene, library, side)] * 255 + 0.5).astype(np.uint8)


def _size(placed: Placed, side: int) -> int:
    return max(4, round(placed.size * side))


def labels(scene: Scene) -> dict[str, int]:
    """What is in the scene, as numbers: -1 where there is nothing (a second thing) or nothing to tell (its own colour)."""
    first, second = scene.placed[0], scene.placed[1] if scene.layout == "pair" else None

    def color(placed: Placed | None) -> int:
        return -1 if placed is None or placed.color is None else COLORS.index(placed.color)

    return {
        "layout": LAYOUTS.index(scene.layout),
        "style": STYLES.index(scene.style),
        "thing": first.thing,
        "thing_2": -1 if second is None else second.thing,
        "color": color(first),
        "color_2": color(second),
        "count": len(scene.placed),
        "relation": -1 if scene.relation is None else RELATIONS.index(scene.relation),
        "backdrop": backdrops.NAMES.index(scene.backdrop),
    }


def batch(
    library: Library | VectorLibrary,
    count: int,
    seed: int,
    *,
    tier: int,
    mix: Mix,
    only: tuple[str, ...] = (),
    held_out: bool = False,
    all_things: bool = False,
    side: int = 64,
) -> tuple[np.ndarray, list[Caption], list[Scene]]:
    """`count` pictures (n s s 3) with captions and scenes; the same seed gives the same ones, whatever was drawn before."""
    which = {"tier": tier, "only": only, "held_out": held_out, "all_things": all_things}
    scenes, captions = described(library, count, seed, mix=mix, **which)
    return np.stack([paint(scene, library, side) for scene in scenes]), captions, scenes


def described(
    library: Library | VectorLibrary,
    count: int,
    seed: int,
    *,
    tier: int,
    mix: Mix,
    only: tuple[str, ...] = (),
    held_out: bool = False,
    all_things: bool = False,
) -> tuple[list[Scene], list[Caption]]:
    """The scenes of `batch` and their captions, unpainted. Things take turns, so that each is shown equally often.

    only: the nouns of the things that take part; none names all.
    """
    available = [i for i in library.available(tier) if not only or library.vocabulary[i].noun in only]
    sampler = SceneSampler(library.vocabulary, available, mix, held_out=held_out, all_things=all_things)
    rng = Random(f"stickers {seed} {held_out}")
    order = rng.sample(sampler.things, len(sampler.things))
    scenes = [sampler.sample(rng, first=order[i % len(order)]) for i in range(count)]
    return scenes, [write_caption(scene, library.vocabulary, rng) for scene in scenes]


def sheet(library: Library, path: Path, *, columns: int = 16, rows: int = 10, side: int = 64) -> Path:
    """Write training pictures side by side as a PNG, and their captions in a .txt beside it."""
    tier = max(thing.tier for thing in library.vocabulary)
    pixels, captions, _ = batch(library, columns * rows, 0, tier=tier, mix=Mix(), side=side)
    gap = 2
    picture = Image.new("RGB", (columns * (side + gap), rows * (side + gap)))
    for i, tile in enumerate(pixels):
        picture.paste(Image.fromarray(tile), (i % columns * (side + gap), i // columns * (side + gap)))
    with whole(path) as draft:
        picture.save(draft, "PNG")
    write(path.with_suffix(".txt"), "\n".join(each.text for each in captions).encode())
    return path
