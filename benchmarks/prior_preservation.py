"""Does prior preservation keep what a LoRA does not mean to change? things64 learns a made-up creature with and without.

    OMP_NUM_THREADS=1 python benchmarks/prior_preservation.py --sheet prior.png

Teaches the ten pictures of input/zibble.png twice, draws prompts from the same seeds with the base and with both, and
prints the mean difference of their pixels from the base's, in [-1, 1], as Markdown: it should be large of what was
taught, and small of all else. Rows of the sheet: the base, without, with. A minute of one core.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
from PIL import Image, ImageSequence
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "workflows")]

from graphs_mini import KEPT  # noqa: E402
from made_up_thing import CAPTIONS, FILE  # noqa: E402

from imagen_core import (  # noqa: E402
    Draw,
    LoraSettings,
    Prompt,
    Stage,
    draw_class,
    fit,
    fit_lora,
    load_stage,
    load_text_encoder,
    sample_base,
    typed_prompt,
    with_lora,
)
from imagen_train.data import to_float  # noqa: E402

MODELS = ROOT / "models" / "imagen-mini"
PROMPTS = (
    "a 3D emoji of a zibble on a light blue background",
    "a 3D emoji of a fox on a yellow background",
    "a 3D emoji of an apple on a pink background",
    "a 3D emoji of an owl on a green background",
)
SEEDS = (1, 2)


def ten_pictures(side: int) -> Tensor:
    """(10 3 side side) in [-1, 1]."""
    import numpy as np

    frames = [np.array(frame.convert("RGB")) for frame in ImageSequence.Iterator(Image.open(FILE, formats=["PNG"]))]
    return fit(to_float(np.stack(frames)), (side, side))


def drawn(stage: Stage, prompts: list[Prompt]) -> list[Tensor]:
    side = stage.spec.native_side
    return [sample_base(stage, prompt, Draw(seeds=SEEDS, steps=16), height=side, width=side) for prompt in prompts]


def save_sheet(rows: list[list[Tensor]], path: Path) -> None:
    """A row a network, two pictures a prompt."""
    whole = torch.cat([torch.cat([torch.cat(list(pair), -1) for pair in row], -1) for row in rows], -2)
    pixels = ((whole + 1.0) * 127.5).round().clamp(0, 255).byte().movedim(0, -1).numpy()
    sheet = Image.fromarray(pixels)
    sheet.resize((2 * sheet.width, 2 * sheet.height), Image.Resampling.NEAREST).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--class-images", type=int, default=24)
    parser.add_argument("--sheet", type=Path, help="a picture of what is drawn")
    options = parser.parse_args()
    torch.set_num_threads(1)
    stage, encoder = load_stage(MODELS / "things64.safetensors"), load_text_encoder(MODELS / "things_text_encoder")
    taught, kept, asked = (
        [stage.read(typed_prompt(encoder, text)) for text in texts] for texts in (CAPTIONS, KEPT, PROMPTS)
    )
    pictures, settings = ten_pictures(stage.spec.native_side), LoraSettings(rank=16, steps=options.steps)
    rows, seconds = [drawn(stage, asked)], []
    for keeps in (False, True):
        start = time.process_time()
        prior = draw_class(stage, kept, options.class_images) if keeps else None
        lora = fit_lora(stage, pictures, taught, settings, prior=prior)
        seconds.append(time.process_time() - start)
        rows.append(drawn(with_lora(stage, lora), asked))
    print("| prompt | without | with |\n| --- | --- | --- |")
    for text, base, *others in zip(PROMPTS, *rows, strict=True):
        print(f"| {text} | {' | '.join(f'{(each - base).abs().mean().item():.3f}' for each in others)} |")
    print(f"| CPU seconds to learn | {seconds[0]:.0f} | {seconds[1]:.0f} |")
    if options.sheet:
        save_sheet(rows, options.sheet)


if __name__ == "__main__":
    main()
