"""Who is drawn, where, and before what? Individuals that nothing was trained on, each in several scenes, held to renders.

The floor is drawn without the adapter, the ceiling are renders of what was asked for. Who it is, is judged twice: by codes
(verification: cosines of the same individual against those of others) and by the nearest render, which knows no network.

Shapes: b pictures, n individuals, o offsets, s a picture's side.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imagen_core import (
    Control,
    LoadedAdapter,
    Prompt,
    Stage,
    draw_key_points,
    load_adapter,
    load_text_encoder,
    sample_base,
)
from imagen_core.text.t5 import T5TextEncoder

from .caption_files import encoder_for
from .data import to_float
from .evaluate import SamplingSettings
from .evaluate_control import figure
from .identities import HELD_OUT, Sight, paint, sight_of
from .identity_code import codes_of, load_identity_code, verification
from .identity_labels import POSE
from .metrics import Figure
from .sheets import grid, write_picture
from .stickers import backdrops
from .stickers.captions import unnamed_caption
from .stickers.colors import Array
from .stickers.figures import Pose, drawn, figure_of, laid

FIRST = HELD_OUT + 500_000  # of the individuals that are asked for; no preview shows them
AMONG = 32  # individuals from whose renders the right one is told
COARSE, REACH = 4, 24  # pixels of 64: the grid on which a drawn figure is looked for, and how far off
TURNS, FINEST = 12, 3  # directions in which it may face; of those, how many are looked at pixel by pixel
RIM = 5  # pixels of 64 at a picture's border, by which its backdrop is judged
WAYS = {"none": None, "tokens": (1.0, 0.0), "net": (0.0, 1.0), "both": (1.0, 1.0)}  # ip_weight, cn_strength


@dataclass(frozen=True)
class Asked:
    """n individuals, of each a reference and what is asked for, scene by scene."""

    references: list[Sight]
    scenes: list[list[Sight]]  # each of n
    texts: list[list[str]]

    @staticmethod
    def of(count: int, scenes: int) -> Asked:
        rng = Random("identities asked for")
        who = range(FIRST, FIRST + count)
        references = [sight_of(each, rng) for each in who]
        wanted = [[sight_of(each, rng) for each in who] for _ in range(scenes)]
        texts = [[unnamed_caption(None, 1, sight.backdrop, rng) for sight in scene] for scene in wanted]
        return Asked(references, wanted, texts)


def shown(sights: list[Sight], side: int) -> Tensor:
    """Their renders (b 3 s s) in [-1, 1]."""
    return to_float(np.stack([paint(sight, side) for sight in sights]))


@dataclass(frozen=True, kw_only=True)
class Drawer:
    """A base with an identity that draws what is asked for."""

    stage: Stage
    adapter: LoadedAdapter
    encoder: T5TextEncoder
    settings: SamplingSettings
    side: int

    def drawn(self, sights: list[Sight], texts: list[str], told: Tensor, way: tuple[float, float] | None) -> Tensor:
        """A picture a sight, the i-th from seed i. told: their references, pictures or codes; way: of WAYS."""
        parts = []
        for first in range(0, len(sights), self.settings.batch_size):
            part = slice(first, min(len(sights), first + self.settings.batch_size))
            controls = []
            if way is not None:
                pose = [torch.tensor([getattr(sight.pose, name) for sight in sights[part]]) for name in POSE]
                points = draw_key_points(*pose, height=self.side, width=self.side)
                weights = {"strength": way[0], "key_points_strength": way[1]}
                controls = [Control(adapter=self.adapter, picture=told[part], key_points=points, **weights)]
            draw = self.settings.draw(range(part.start, part.stop), controls)
            prompt = Prompt(text=self.encoder.encode(texts[part]))
            parts.append(sample_base(self.stage, prompt, draw, height=self.side, width=self.side))
        return torch.cat(parts)


def nearest_of(picture: Tensor, sight: Sight) -> bool:
    """Whether of AMONG individuals' renders in the asked scene the right one's is nearest to a picture (3 s s)."""
    rng = Random(sight.identity)
    who = [sight.identity, *(rng.randrange(FIRST + 10**6, FIRST + 10**7) for _ in range(AMONG - 1))]
    rgb, behind = _rgb(picture), _behind(sight, picture.shape[-1])
    off = [float(np.square(laid(behind, figure_of(each), sight.pose) - rgb).mean()) for each in who]
    return int(np.argmin(off)) == 0


def _rgb(picture: Tensor) -> Array:
    """(3 s s) in [-1, 1] -> (s s 3) in [0, 1]."""
    return (picture.permute(1, 2, 0).numpy() + 1) / 2


def _behind(sight: Sight, side: int) -> Array:
    return backdrops.paint(sight.backdrop, side, sight.seed, gradient=sight.gradient)


def pose_off(picture: Tensor, sight: Sight) -> tuple[float, float]:
    """How far a picture's (3 s s) figure lies from where it was asked for (pixels of 64), and is turned (degrees).

    It is looked for as the render of the right individual that fits best: in all directions on a coarse grid, at half
    the size, and then pixel by pixel around the best places of the directions that fit best.
    """
    side = picture.shape[-1]
    far, step = round(REACH * side / 64), max(2, round(COARSE * side / 64))
    rgb, behind = (torch.from_numpy(each).float().permute(2, 0, 1) for each in (_rgb(picture), _behind(sight, side)))
    grid_ = range(-(far // 2), far // 2 + 1, step // 2)
    found: list[tuple[float, int, int, float, Tensor]] = []
    for turn in range(TURNS):
        degrees = 360.0 * turn / TURNS
        layers = _layers(sight, dataclasses.replace(sight.pose, angle=sight.pose.angle + degrees), side)
        small = (F.avg_pool2d(each, 2) for each in (rgb, behind, layers))
        off, y, x = _best(*small, grid_, grid_)
        found.append((off, 2 * y, 2 * x, min(degrees, 360.0 - degrees), layers))
    fine = []
    for _, y, x, degrees, layers in sorted(found, key=lambda each: each[0])[:FINEST]:
        around = (range(at - step, at + step + 1) for at in (y, x))
        fine.append((*_best(rgb, behind, layers, *around), degrees))
    _, y, x, degrees = min(fine)
    return float(np.hypot(y, x)) * 64 / side, degrees


def _layers(sight: Sight, pose: Pose, side: int) -> Tensor:
    """The figure (4 s s): colours times coverage, and coverage."""
    rgb, covered = drawn(sight.figure, pose, side)
    return torch.from_numpy(np.concatenate([rgb, covered], axis=2)).permute(2, 0, 1)


def _best(picture: Tensor, behind: Tensor, layers: Tensor, rows: range, columns: range) -> tuple[float, int, int]:
    """The least mean squared difference of a picture (3 s s), and at which offset of the figure it is."""
    side = picture.shape[-1]
    most = max(*map(abs, rows), *map(abs, columns))
    wide = F.pad(layers, (most,) * 4)
    offsets = [(y, x) for y in rows for x in columns]
    moved = torch.stack(
        [wide[:, most - y : most - y + side, most - x : most - x + side] for y, x in offsets]
    )  # o 4 s s
    off = (behind * (1 - moved[:, 3:]) + moved[:, :3] - picture).square().mean((1, 2, 3))
    return (off.min().item(), *offsets[int(off.argmin())])


def backdrop_holds(picture: Tensor, sight: Sight) -> bool:
    """Whether of all backdrops the one asked for is the nearest to a picture's (3 s s) rim."""
    side = picture.shape[-1]
    rim = max(1, round(RIM * side / 64))
    inside = np.s_[rim:-rim, rim:-rim]
    outside = np.ones((side, side), bool)
    outside[inside] = False
    rgb = _rgb(picture)

    def off(name: str) -> float:
        behind = backdrops.paint(name, side, sight.seed, gradient=sight.gradient and name == sight.backdrop)
        return float(np.square(behind - rgb)[outside].mean())

    return min(backdrops.NAMES, key=off) == sight.backdrop


def recognised(encoder: nn.Module, references: Tensor, sets: list[Tensor]) -> dict[str, object]:
    """`verification` of pictures, a set (n 3 s s) a scene, by references (n 3 s s): means over scenes."""
    known = codes_of(encoder, references)
    each = [verification(known, codes_of(encoder, pictures)) for pictures in sets]
    means = {name: sum(one[name] for one in each) / len(each) for name in each[0]}
    return means | {"auc_by_scene": [one["auc"] for one in each]}


def judged(asked: Asked, sets: list[Tensor]) -> dict[str, Figure]:
    """What no network judges of pictures, a set (n 3 s s) a scene."""
    pairs = [
        pair for pictures, scene in zip(sets, asked.scenes, strict=True) for pair in zip(pictures, scene, strict=True)
    ]
    off = torch.tensor([pose_off(*pair) for pair in pairs])
    return {
        "nearest": figure(torch.tensor([nearest_of(*pair) for pair in pairs]).float()),
        "centre_off": figure(off[:, 0]),
        "angle_off": figure(off[:, 1]),
        "backdrop": figure(torch.tensor([backdrop_holds(*pair) for pair in pairs]).float()),
    }


def evaluate_identity(
    base: Path,
    identity: Path,
    models_dir: Path,
    *,
    code: Path | None = None,
    count: int = 64,
    scenes: int = 2,
    settings: SamplingSettings | None = None,
    device: str = "cpu",
    pictures_out: Path | None = None,
) -> dict[str, object]:
    """`recognised` and `judged` of what is drawn in each of WAYS, and of renders. ValueError where the files do not fit.

    code: another encoder of `imagen train identity_code`, by which codes are compared besides the identity's own, as
    "by_other_code". pictures_out: a PNG of eight individuals, rows: reference, key points, and each way's picture of
    the first scene.
    """
    settings = settings or SamplingSettings()
    stage = settings.load(base, device)
    loaded = load_adapter(identity, device=device, dtype=stage.dtype)
    loaded.check_fits(stage)
    own, other = _own_encoder(loaded, identity), None if code is None else load_identity_code(code)
    side, asked = stage.spec.native_side, Asked.of(count, scenes)
    drawer = Drawer(
        stage=stage,
        adapter=loaded,
        encoder=load_text_encoder(
            encoder_for(stage.spec.unet_config.text_embed_dim, (models_dir, base.parent)), device=device
        ),
        settings=settings.of(stage),
        side=side,
    )
    references = shown(asked.references, side)
    sets = {
        name: [
            drawer.drawn(scene, texts, references, way) for scene, texts in zip(asked.scenes, asked.texts, strict=True)
        ]
        for name, way in WAYS.items()
    }
    sets["renders"] = [shown(scene, side) for scene in asked.scenes]
    figures = {name: recognised(own, references, each) | judged(asked, each) for name, each in sets.items()}
    if other is not None:
        for name, each in sets.items():
            figures[name]["by_other_code"] = recognised(other, references, each)
    if pictures_out is not None:
        _write(pictures_out, references, asked, sets)
    about = {"count": count, "scenes": scenes, "among": AMONG, "base": base.name, "identity": identity.name}
    if code is not None:
        about["other_code"] = code.name
    return {**figures, "asked": about, "settings": dataclasses.asdict(drawer.settings)}


def _own_encoder(loaded: LoadedAdapter, identity: Path) -> nn.Module:
    """What makes codes of pictures."""
    network = loaded.network
    if not network.takes_key_points or not network.reads_pictures:
        raise ValueError(
            f"{identity} is no identity that sees pictures itself: name one that imagen train identity --code made"
        )
    return copy.deepcopy(network.encoder).float()


def _write(path: Path, references: Tensor, asked: Asked, sets: dict[str, list[Tensor]], most: int = 8) -> None:
    side = references.shape[-1]
    pose = [torch.tensor([getattr(sight.pose, name) for sight in asked.scenes[0][:most]]) for name in POSE]
    rows = [references[:most], draw_key_points(*pose, height=side, width=side)]
    rows += [pictures[0][:most] for pictures in sets.values()]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(path, grid(torch.cat([row.cpu() for row in rows]), columns=min(most, len(references)), scale=2))
