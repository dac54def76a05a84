"""What do fewer calls cost? One table: guided, plainly fewer steps, and distilled, from the same captions and seeds.

Judged by the nearest render (stickers/nearest.py), the Frechet distance to renders in the shipped classifier's features,
how far each picture is from the one that the first way draws, and seconds of the CPU.

Shapes: b pictures.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from imagen_core import Draw, Prompt, Stage, load_stage, load_text_encoder, read_lora, sample_base, with_lora
from imagen_core.guidance.classifier_free import ClassifierFreeGuidance
from imagen_core.samplers import SAMPLERS

from .classifier import FILE as CLASSIFIER_FILE
from .classifier import load_classifier
from .data import drawings_folder
from .evaluate import seen_by
from .metrics import frechet_distance
from .stickers.evaluate import Asked, rendered, share, write_sheet
from .stickers.judge import TEST_SEED
from .stickers.nearest import asked_scenes, ranks_of_each
from .stickers.pictures import Library, open_library
from .stickers.redraw import ENCODER

FEWER = (20, 10, 5, 4)  # plain steps, each with two calls
DDIM_STEPS = (8, 4)  # plain, as distilled LoRAs are drawn with
REFERENCE = 4  # times as many renders as pictures: what the Frechet distance is taken to
SHOWN = 8  # pictures of each way on the sheet, a row of it


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to draw."""

    name: str
    stage: Stage
    steps: int
    guidance_scale: float
    sampler: str
    spacing: str | None = None

    @property
    def calls(self) -> int:
        """Passes of the network through one picture: two a step where it is guided."""
        return self.steps * (2 if self.guidance_scale > 1 else 1)

    def drawn(self, prompt: Prompt, seeds: Sequence[int]) -> Tensor:
        draw = Draw(
            seeds=seeds,
            steps=self.steps,
            sampler=SAMPLERS[self.sampler](),
            spacing=self.spacing,
            guidance=ClassifierFreeGuidance(scale=self.guidance_scale),
        )
        return sample_base(self.stage, prompt, draw)


def ways_of(base: Stage, loras: Sequence[tuple[str, Stage]]) -> list[Way]:
    """The base with fewer and fewer steps, then each distilled stage as it asks to be drawn with.

    Also with DDIM, as the distilled are drawn, and without guidance: what is gained has to be learned, not the solver's.
    """
    asked = {"steps": 20, "guidance_scale": 1.0, "sampler": "dpmpp_2m"} | base.spec.defaults
    scale, sampler = float(asked["guidance_scale"]), str(asked["sampler"])
    counts = sorted({int(asked["steps"]), *FEWER}, reverse=True)
    plain = [Way(name="plain", stage=base, steps=n, guidance_scale=scale, sampler=sampler) for n in counts]
    ddim = {"stage": base, "sampler": "ddim", "spacing": "uniform"}
    plain += [Way(name="plain", steps=n, guidance_scale=scale, **ddim) for n in DDIM_STEPS]
    unguided = [Way(name="no guidance", stage=base, steps=counts[0], guidance_scale=1.0, sampler=sampler)]
    unguided += [Way(name="no guidance", steps=n, guidance_scale=1.0, **ddim) for n in DDIM_STEPS]
    return [*plain, *unguided, *(_as_asked(name, stage) for name, stage in loras)]


def _as_asked(name: str, stage: Stage) -> Way:
    asked = {"steps": 20, "guidance_scale": 1.0, "sampler": "dpmpp_2m"} | stage.spec.defaults
    return Way(
        name=name,
        stage=stage,
        steps=int(asked["steps"]),
        guidance_scale=float(asked["guidance_scale"]),
        sampler=str(asked["sampler"]),
        spacing=asked.get("spacing"),
    )


def evaluate_fewer(
    base: Path,
    loras: Sequence[Path],
    models_dir: Path,
    *,
    count: int = 256,
    tier: int = 1,
    batch_size: int = 32,
    device: str = "cpu",
    pictures_out: Path | None = None,
) -> list[dict[str, object]]:
    """One row a way: name, calls, thing (share whose render is the nearest), thing_top_5, frechet, rmse, cpu_seconds.

    count: captions of one thing, or several alike. rmse: to the pictures of the first way, in [-1, 1]. frechet: to renders
    of other captions; the last row is of these captions' own renders, what a perfect base would get.
    pictures_out: a PNG with a row of pictures for each way.
    """
    stage, library = load_stage(base, device=device), open_library(drawings_folder())
    ways = ways_of(stage, [(path.stem, with_lora(stage, read_lora(path))) for path in loras])
    wanted, other = _single(library, count, TEST_SEED, tier), _single(library, REFERENCE * count, TEST_SEED + 1, tier)
    encoder = load_text_encoder(models_dir / ENCODER, device=device)
    prompts = [encoder.encode(part) for part in _parts(wanted.texts, batch_size)]
    sets, seconds = zip(*(_timed(way, prompts, count, batch_size) for way in tqdm(ways, desc="ways")), strict=True)
    judge = load_classifier(models_dir / CLASSIFIER_FILE)
    reference = seen_by(judge, rendered(library, other))["features"]
    ranks = ranks_of_each(sets, wanted.scenes, library, library.available(tier))
    rows = [
        _row(way, places, spent)
        | {"frechet": frechet_distance(seen_by(judge, drawn)["features"], reference), "rmse": _rmse(drawn, sets[0])}
        for way, drawn, spent, places in zip(ways, sets, seconds, ranks, strict=True)
    ]
    if pictures_out is not None:
        _write(pictures_out, sets, wanted)
    floor = frechet_distance(seen_by(judge, rendered(library, wanted))["features"], reference)
    return [*rows, {"way": "renders", "frechet": floor}]


def _row(way: Way, places: list[int], seconds: float) -> dict[str, object]:
    told = {"way": way.name, "steps": way.steps, "calls": way.calls, "sampler": way.sampler, "cpu_seconds": seconds}
    return told | {
        "thing": share([place == 0 for place in places]),
        "thing_top_5": share([place < 5 for place in places]),
    }


def _rmse(drawn: Tensor, wanted: Tensor) -> float:
    return (drawn - wanted).square().mean().sqrt().item()


def _single(library: Library, count: int, seed: int, tier: int) -> Asked:
    """Captions of one thing or several alike; pairs ask about two at once."""
    found, wanted = asked_scenes(library, 2 * count, seed, tier=tier), Asked([], [])
    for caption, scene in zip(found.captions, found.scenes, strict=True):
        if scene.layout != "pair" and len(wanted.scenes) < count:
            wanted.captions.append(caption)
            wanted.scenes.append(scene)
    return wanted


def _parts(texts: list[str], size: int) -> list[list[str]]:
    return [texts[first : first + size] for first in range(0, len(texts), size)]


def _timed(way: Way, prompts: list, count: int, size: int) -> tuple[Tensor, float]:
    """One picture a prompt, the i-th from seed i, and the seconds of the CPU that one took."""
    way.drawn(Prompt(text=prompts[0]), range(len(prompts[0].mask)))  # the first run sets up what later ones reuse
    began, drawn = time.process_time(), []
    for index, text in enumerate(prompts):
        first = index * size
        drawn.append(way.drawn(Prompt(text=text), range(first, first + len(text.mask))))
    return torch.cat(drawn), (time.process_time() - began) / count


def _write(path: Path, sets: Sequence[Tensor], wanted: Asked) -> None:
    shown = min(SHOWN, len(wanted.texts))
    write_sheet(path, torch.cat([drawn[:shown] for drawn in sets]), wanted.texts[:shown] * len(sets))


def as_table(rows: Sequence[dict[str, object]]) -> str:
    """Markdown, figures rounded to what they hold."""
    lines = [
        "| way | steps | calls | sampler | thing | top 5 | Frechet | rmse | CPU s a picture |",
        "| --- |" + " ---: |" * 8,
    ]
    for row in rows:
        cells = [row["way"], row.get("steps", ""), row.get("calls", ""), row.get("sampler", "")]
        cells += [_share(row.get("thing")), _share(row.get("thing_top_5")), f"{row['frechet']:.2f}"]
        cells += [f"{row[name]:.3f}" if name in row else "" for name in ("rmse", "cpu_seconds")]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _share(figure: dict | None) -> str:
    return "" if figure is None else f"{figure['mean']:.3f} ± {figure['se']:.3f}"
