"""Do pictures show the things, styles, colours, numbers and places that their captions ask for? As the judge sees it.

Shapes: b pictures, n captions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from torch import Tensor

from imagen_core.text.loading import load_text_encoder

from ..classifier import Classifier
from ..data import drawings_folder
from ..evaluate import SamplingSettings, draw_base
from ..metrics import Figure
from .captions import Caption, Habits, write_caption
from .judge import FILE, TEST_SEED, load_things_judge
from .mixes import WIDE
from .pictures import Library, labels, open_library, paint
from .redraw import ENCODER
from .scene import Scene, SceneSampler

ASKED = Habits(
    style=1.0, color=1.0, backdrop=1.0, white=1.0, relation=1.0, synonym=0.0, keywords=0.0
)  # all that is judged is said

# Every style that is learned, and more things than one, often enough to be judged.
MIX = dataclasses.replace(WIDE, styles=tuple(dict.fromkeys(WIDE.styles)), several=0.15, pair=0.25)


@dataclass(frozen=True)
class Asked:
    """Captions to draw, with the scenes they describe."""

    captions: list[Caption]
    scenes: list[Scene]

    @property
    def texts(self) -> list[str]:
        return [caption.text for caption in self.captions]

    def first(self, count: int) -> Asked:
        """The first so many of them."""
        return Asked(self.captions[:count], self.scenes[:count])


def asked(
    library: Library, count: int, seed: int, *, tier: int, held_out: bool = False, habits: Habits = ASKED
) -> Asked:
    """`count` captions of training's things; held_out: in colours that training never shows on them."""
    sampler = SceneSampler(library.vocabulary, library.available(tier), MIX, held_out=held_out)
    rng = Random(f"asked {seed} {held_out}")
    known = [i for i in sampler.things if i not in sampler.held.things]
    sampler.things = known
    scenes = [sampler.sample(rng, first=known[i % len(known)]) for i in range(count)]
    return Asked([write_caption(scene, library.vocabulary, rng, habits) for scene in scenes], scenes)


@torch.inference_mode()
def answers(judge: Classifier, pictures: Tensor, batch_size: int = 128) -> dict[str, Tensor]:
    """Each head's logits (b classes) for pictures (b 3 64 64) in [-1, 1]."""
    parts = [judge(part) for part in pictures.split(batch_size)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def share(right: Sequence[bool]) -> Figure:
    """The share of True with its standard error and count."""
    values = torch.tensor(list(right), dtype=torch.float64)
    mean = values.mean().item() if len(values) else float("nan")
    return {"mean": mean, "se": (mean * (1 - mean) / max(1, len(values))) ** 0.5, "count": len(values)}


def judged(judge: Classifier, pictures: Tensor, wanted: Asked) -> dict[str, Figure]:
    """thing (top 1, top 5), colour, style, backdrop, count, relation, and both of a pair with their colours (bound)."""
    seen = answers(judge, pictures)
    top = {name: logits.argmax(1).tolist() for name, logits in seen.items()}
    five = seen["thing"].topk(5, 1).indices.tolist()
    rows = [labels(scene) for scene in wanted.scenes]
    singles = [i for i, row in enumerate(rows) if row["layout"] != 2]
    pairs = [i for i, row in enumerate(rows) if row["layout"] == 2]

    def right(head: str, where: Sequence[int]) -> list[bool]:
        return [top[head][i] == rows[i][head] for i in where if rows[i][head] >= 0]

    def whole(i: int) -> bool:
        names = ("layout", "thing", "thing_2", "color", "color_2")
        return all(top[name][i] == rows[i][name] for name in names if rows[i][name] >= 0)

    several = [i for i in singles if rows[i]["layout"] == 1]
    every = range(len(rows))
    return {
        "thing": share(right("thing", singles)),
        "thing_top_5": share([rows[i]["thing"] in five[i] for i in singles]),
        "color": share(right("color", singles)),
        "style": share(right("style", every)),
        "backdrop": share(right("backdrop", every)),
        "count": share(right("count", several)),
        "relation": share([top["layout"][i] == 2 and top["relation"][i] == rows[i]["relation"] for i in pairs]),
        "bound": share([whole(i) for i in pairs]),
    }


def rendered(library: Library, wanted: Asked) -> Tensor:
    """The scenes themselves (b 3 64 64) in [-1, 1]: what the judge makes of a perfect answer."""
    pixels = torch.stack([torch.from_numpy(paint(scene, library)) for scene in wanted.scenes])
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


def evaluate_things(
    base: Path,
    models_dir: Path,
    *,
    judge: Path | None = None,
    count: int = 512,
    tier: int = 1,
    settings: SamplingSettings | None = None,
    device: str = "cpu",
    pictures_out: Path | None = None,
) -> dict[str, object]:
    """What a base draws of `count` captions in training's colours, and of as many in colours never shown ("unseen").

    "renders" is the same for the scenes themselves. pictures_out: a PNG of the first 64, captions beside it.
    """
    settings = settings or SamplingSettings()
    stage = settings.load(base, device, expected_stage="base64")
    settings, library = settings.of(stage), open_library(drawings_folder())
    encoder = load_text_encoder(models_dir / ENCODER, device=device)
    seer = load_things_judge(judge or models_dir / FILE)
    figures: dict[str, object] = {}
    for name, held_out in (("shown", False), ("unseen", True)):
        wanted = asked(library, count, TEST_SEED, tier=tier, held_out=held_out)
        drawn = draw_base(stage, encoder, wanted.texts, settings)
        figures[name] = {
            "drawn": judged(seer, drawn, wanted),
            "renders": judged(seer, rendered(library, wanted), wanted),
        }
        if pictures_out is not None and name == "shown":
            write_sheet(pictures_out, drawn[:64], wanted.texts[:64])
    return figures | {"count": count, "settings": dataclasses.asdict(settings), "training": stage.spec.training}


def write_sheet(path: Path, drawn: Tensor, captions: list[str]) -> None:
    """Write pictures (b 3 h w) side by side as a PNG, and their captions in a .txt beside it."""
    from ..sheets import grid, write_captions, write_picture

    write_picture(path, grid(drawn, columns=8, scale=2))
    write_captions(path.with_suffix(".txt"), captions)
