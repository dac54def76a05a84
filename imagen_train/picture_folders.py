"""How far are people's pictures from others, and how well do they fit their captions? Folders, with features of one's own.

Frechet distance: Heusel et al. 2017, Eq. 6, in whichever features are named; figures in different features, or of
different counts, do not compare. CLIP score: the mean cosine of pictures and their captions (Imagen, section 4.1), and
CLIPScore, 2.5 max(cosine, 0) (arXiv 2104.08718).

Shapes: b pictures, n of a folder, d features, e CLIP's common space.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from imagen_core._safetensors import opened
from imagen_core.clip.loading import is_clip, load_clip
from imagen_core.clip.model import Clip
from imagen_core.super_resolution import fit

from .classifier import Classifier, load_classifier
from .data import to_float
from .metrics import Figure, frechet_distance
from .own_pictures import collection_of
from .prepared import picture_of
from .stickers.judge import load_things_judge

JUDGES: dict[str, Callable[[Path], Classifier]] = {
    "imagen-classifier": load_classifier,
    "imagen-things_judge": load_things_judge,
}
JUDGED_SIDE = 64  # the middle of a picture is brought to it


@dataclass
class Shown:
    """The pictures of a place that can be read, as (name, caption, picture), one at a time; `broken` says which not."""

    place: Path
    caption: str | None = None

    def __post_init__(self) -> None:
        self.broken: list[str] = []

    def __iter__(self) -> Iterator[tuple[str, str, Image.Image]]:
        for record in tqdm(collection_of(self.place, self.caption).records(), unit="picture", disable=None):
            try:
                yield record.name, record.caption, picture_of(record)
            except ValueError as error:
                self.broken.append(f"{record.name}: {error}")


Features = Callable[[Tensor], Tensor]  # pictures (1 3 h w) in [-1, 1], any size -> (1 d)


def features_by(path: Path, device: str = "cpu") -> Features:
    """The network at `path` as features: a CLIP's unit vectors, or what one of our judges has before its heads.

    ValueError: it is neither.
    """
    if is_clip(path):
        return load_clip(path, towers=("vision",)).to(device).embed_pixels
    kind = _kind(path)
    if kind not in JUDGES:
        raise ValueError(f"{path} has no features: name a CLIP (a folder or .safetensors), or one of our judges")
    judge = JUDGES[kind](path).to(device)
    return lambda pictures: judge.features(fit(pictures, (JUDGED_SIDE, JUDGED_SIDE)).to(device))


def _kind(path: Path) -> str | None:
    if path.suffix.lower() != ".safetensors" or not path.is_file():
        return None
    with opened(path) as file:
        return file.metadata.get("format")


def _pixels(picture: Image.Image) -> Tensor:
    """(1 3 h w) in [-1, 1]."""
    return to_float(np.array(picture)[None])


@torch.inference_mode()
def features_of(place: Path, features: Path | None, device: str = "cpu") -> Tensor:
    """Features (n d), float32 on the CPU, of a folder's pictures, or a .safetensors that holds them already.

    ValueError: fewer than two pictures, or a file that holds no features.
    """
    if place.suffix.lower() == ".safetensors":
        return stored_features(place)
    if features is None:
        raise ValueError(f"{place} holds pictures: name the network whose features are compared by --features")
    of, shown = features_by(features, device), Shown(place)
    found = [of(_pixels(picture)).float().cpu() for _, _, picture in shown]
    if len(found) < 2:
        broken = f", {len(shown.broken)} of them cannot be read: {shown.broken[0]}" if shown.broken else ""
        raise ValueError(
            f"{place} holds {len(found) + len(shown.broken)} pictures{broken}: a distance takes two or more"
        )
    return torch.cat(found)


def stored_features(path: Path) -> Tensor:
    """The one matrix (n d) of a .safetensors, as float32. ValueError: it holds none, several, or what is no number."""
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    with opened(path) as file:
        matrices = [name for name, shape in file.shapes.items() if len(shape) == 2]
        if len(matrices) != 1 or len(file.shapes) != 1:
            raise ValueError(f"{path} holds {len(file.shapes)} tensors: one matrix is expected, a row for each picture")
        found = file.read(matrices[0], torch.float32)
    if not torch.isfinite(found).all():
        raise ValueError(f"{path} holds features that are NaN or infinite: make them again")
    return found


def distance(drawn: Path, reference: Path, features: Path | None, device: str = "cpu") -> dict[str, object]:
    """The Frechet distance of two places, each a folder or stored features, with what it depends on."""
    sets = [features_of(place, features, device) for place in (drawn, reference)]
    fewest, dims = min(map(len, sets)), sets[0].shape[1]
    figures: dict[str, object] = {
        "frechet": frechet_distance(*sets),
        "drawn": len(sets[0]),
        "reference": len(sets[1]),
        "dimensions": dims,
        "features": None if features is None else str(features),
    }
    if fewest <= dims:
        figures["note"] = (
            f"{fewest} pictures for {dims} features: far too few for the distance itself, which is too large then;"
            " compare only sets of the same count"
        )
    return figures


@torch.inference_mode()
def clip_score(place: Path, clip_path: Path, *, caption: str | None = None, device: str = "cpu") -> dict[str, object]:
    """How well pictures fit their captions, as a CLIP sees it: figures with standard errors, the least fitting named.

    Pictures without a caption are left out and counted. ValueError: none has one, or the CLIP lacks a tower.
    """
    clip = load_clip(clip_path).to(device)
    shown, names, cosines, silent = Shown(place, caption), [], [], 0
    for name, text, picture in shown:
        if not text:
            silent += 1
            continue
        names.append(name)
        cosines.append(cosine_of(clip, _pixels(picture), text))
    if not names:
        raise ValueError(f"no picture of {place} has a caption: write x.txt beside x.png, or a metadata.csv")
    scores = torch.tensor(cosines, dtype=torch.float64)
    order = scores.argsort()[:5].tolist()
    return {
        "cosine": mean_of(scores),
        "clipscore": mean_of(2.5 * scores.clamp_min(0)),
        "pictures": len(names),
        "without_caption": silent,
        "cannot_be_read": len(shown.broken),
        "least_fitting": {names[i]: round(cosines[i], 4) for i in order},
        "clip": str(clip_path),
    }


def cosine_of(clip: Clip, pixels: Tensor, text: str) -> float:
    """The cosine in [-1, 1] of one picture (1 3 h w) and a text."""
    return float(clip.embed_pixels(pixels) @ clip.embed_texts([text])[0])


def mean_of(values: Tensor) -> Figure:
    """Mean and standard error of (n,); the error is None of one value."""
    deviation = values.std().item() / len(values) ** 0.5 if len(values) > 1 else None
    return {"mean": values.mean().item(), "se": deviation}
