"""What does guidance buy, and what does it cost? Frechet distance against CLIP score as its scale grows (Imagen, figure 4).

The same prompts and seeds at every scale, so that only guidance differs.

Shapes: n prompts, k pictures a prompt, d features.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from imagen_core.clip.loading import load_clip

from .curve import Spot, curve_svg
from .metrics import frechet_distance
from .picture_folders import cosine_of, features_by, features_of, mean_of
from .raters.comparison import Contender


@dataclass(frozen=True, kw_only=True)
class Measures:
    """What is measured at each scale; one of both at least."""

    clip: Path | None = None  # the CLIP whose score is taken
    reference: Path | None = None  # pictures, or their stored features, from which the distance is taken ...
    features: Path | None = None  # ... in this network's features; None: the CLIP's

    def __post_init__(self) -> None:
        if self.clip is None and self.reference is None:
            raise ValueError("nothing would be measured: name a --clip, a --reference with --features, or both")
        if self.reference is not None and self.network is None:
            raise ValueError("--reference asks for --features, or for the --clip whose features are compared")

    @property
    def network(self) -> Path | None:
        return self.features or self.clip


@torch.inference_mode()
def sweep(
    model: Contender,
    prompts: Sequence[str],
    scales: Sequence[float],
    measures: Measures,
    *,
    places: Sequence[Path],
    count: int = 1,
    device: str = "cpu",
) -> list[dict[str, float]]:
    """{"guidance_scale", "clip", "clip_se", "frechet"} at every scale, in rising order. ValueError: no scale, or below 1."""
    if not scales or min(scales) < 1:
        raise ValueError(f"guidance scales {list(scales)}: name some of 1 (off) or more")
    clip = None if measures.clip is None else load_clip(measures.clip).to(device)
    wanted = of = None
    if measures.reference is not None:
        of = features_by(measures.network, device)
        wanted = features_of(measures.reference, measures.network, device)
    rows = []
    for scale in sorted(set(scales)):
        settings = dataclasses.replace(model.settings, guidance_scale=scale)
        drawn = dataclasses.replace(model, settings=settings).drawn(prompts, count, places, device)
        row = {"guidance_scale": scale}
        if clip is not None:
            pairs = [(picture[None], prompt) for prompt, some in zip(prompts, drawn, strict=True) for picture in some]
            score = mean_of(torch.tensor([cosine_of(clip, *pair) for pair in pairs], dtype=torch.float64))
            row |= {"clip": score["mean"], "clip_se": score["se"]}
        if wanted is not None:
            seen = torch.cat([of(picture[None]).float().cpu() for picture in drawn.flatten(0, 1)])
            row["frechet"] = frechet_distance(seen, wanted)
        rows.append(row)
    return rows


def sweep_svg(rows: Sequence[dict[str, float]]) -> str:
    """The curve: distance over CLIP score where there are both, as in the paper, else what there is over the scale."""
    names = {"clip": "CLIP score (cosine)", "frechet": "Frechet distance", "guidance_scale": "guidance scale"}
    x, y = ("clip", "frechet") if {"clip", "frechet"} <= rows[0].keys() else ("guidance_scale", None)
    y = y or ("clip" if "clip" in rows[0] else "frechet")
    spots = [Spot(row[x], row[y], f"{row['guidance_scale']:g}") for row in rows]
    up = names[y] + (", guidance scale beside each point" if x == "clip" else "")
    return curve_svg(spots, across=names[x], up=up)
