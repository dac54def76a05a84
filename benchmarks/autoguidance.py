"""What does autoguidance (arXiv 2406.02507) do for imagen-mini: away from an earlier state of itself, or from a smaller one?

    git show 9b5beb9:models/imagen-mini/things64.safetensors > weak.safetensors      (things64 before 337,920 pictures)
    python benchmarks/autoguidance.py --weak weak.safetensors --count 192

Every row draws the same captions from the same seeds. thing, colour, backdrop and number are right when the render that was
asked for is nearer than any other one (imagen_train/stickers/nearest.py), error is the root mean square distance to it, and
variety how far pictures of one caption lie apart from seed to seed. Needs the drawings (`imagen data stickers`). Prints
Markdown.
"""

from __future__ import annotations

import argparse
import sys
import time
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from imagen_core import Draw, Prompt, Stage, load_stage, load_text_encoder, make_guidance, sample_base
from imagen_train.data import drawings_folder
from imagen_train.options import add_dtype, default_models_dir
from imagen_train.stickers.evaluate import Asked, rendered
from imagen_train.stickers.nearest import asked_scenes, judged_each
from imagen_train.stickers.pictures import Library, open_library

COLUMNS = (
    "guidance_scale",
    "weak_scale",
    "thing",
    "colour",
    "backdrop",
    "number",
    "error",
    "variety",
    "CPU s a picture",
)
PART, SEED = 32, 0


def drawn(stage: Stage, prompt: Prompt, guidance: tuple, steps: int, first: int = 0) -> Tensor:
    seeds = range(first, first + len(prompt.text.mask))
    return sample_base(stage, prompt, Draw(seeds=seeds, steps=steps, guidance=guidance)).clamp(-1, 1)


def apart(one: Tensor, other: Tensor) -> float:
    """Root mean square distance of pictures (b 3 h w), the mean over b."""
    return (one - other).square().mean((1, 2, 3)).sqrt().mean().item()


def variety(stage: Stage, encoder, captions: list[str], guidance: tuple, steps: int) -> float:
    """How far two pictures of a caption lie apart, the mean over captions."""
    prompt = Prompt(text=encoder.encode(captions))
    return apart(*(drawn(stage, prompt, guidance, steps, first) for first in (0, 1000)))


def combined(scale: float, away: float, weak: Stage) -> tuple:
    """Classifier-free guidance, and autoguidance on top where it does anything."""
    plain = (make_guidance("classifier_free", scale=scale),)
    return plain if away == 1 else (*plain, make_guidance("autoguidance", scale=away, weak=weak))


def alone(library: Library, count: int) -> Asked:
    """Captions of one thing or several alike, no pairs."""
    wanted = asked_scenes(library, 2 * count, SEED, tier=2)
    kept = [i for i, scene in enumerate(wanted.scenes) if scene.layout != "pair"][:count]
    return Asked([wanted.captions[i] for i in kept], [wanted.scenes[i] for i in kept])


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weak", type=Path, required=True, help="the weaker checkpoint")
    parser.add_argument(
        "--base", type=Path, default=default_models_dir() / "things64.safetensors", help="default: shipped"
    )
    parser.add_argument("--count", type=int, default=192, help="captions (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="default: %(default)s")
    parser.add_argument(
        "--scales", type=float, nargs="+", help="of classifier-free guidance (default: 1 and the base's own)"
    )
    parser.add_argument(
        "--weak-scales", type=float, nargs="+", default=[1.0, 1.5, 2.0], help="default: 1, which is off, 1.5, 2"
    )
    add_dtype(parser)
    args = parser.parse_args()
    torch.set_num_threads(1)
    stage, weak = (load_stage(path, dtype=getattr(torch, args.dtype)) for path in (args.base, args.weak))
    library, encoder = open_library(drawings_folder()), load_text_encoder(default_models_dir() / "things_text_encoder")
    wanted = alone(library, args.count)
    texts, renders = wanted.texts, rendered(library, wanted)
    prompts = [Prompt(text=encoder.encode(texts[i : i + PART])) for i in range(0, len(texts), PART)]
    own = args.scales or (1.0, stage.spec.defaults["guidance_scale"])
    rows, sets = [], []
    for scale, away in product(own, args.weak_scales):
        guidance, began = combined(scale, away, weak), time.process_time()
        parts = [drawn(stage, prompt, guidance, args.steps, PART * i) for i, prompt in enumerate(prompts)]
        seconds = (time.process_time() - began) / len(texts)
        sets.append(torch.cat(parts).float())
        figures = apart(sets[-1], renders), variety(stage, encoder, texts[:PART], guidance, args.steps)
        rows.append(([f"{scale:g}", f"{away:g}"], [*(f"{figure:.3f}" for figure in figures), f"{seconds:.2f}"]))
        print(rows[-1], file=sys.stderr, flush=True)
    print("| " + " | ".join(COLUMNS) + " |\n" + "| --- " * len(COLUMNS) + "|")
    for (asked, figures), found in zip(
        rows, judged_each(sets, wanted.scenes, library, library.available(2)), strict=True
    ):
        shares = [f"{found[name]['mean']:.2f}" for name in ("thing", "color", "backdrop", "count")]
        print("| " + " | ".join([*asked, *shares, *figures]) + " |")


if __name__ == "__main__":
    main()
