"""What does the base make of a drawing? Small pictures with its own faults, beside the true large ones.

A drawing of 256 px is shrunk to 64, noised part of the way and drawn again by the base under the drawing's caption. What
comes out shows the same thing with the base's grain, lumps and soft edges. A super-resolution stage that sees such pairs
learns to mend them, where noise conditioning augmentation alone only teaches it to look away (Imagen, section 2.5).

Shapes: n pictures of a chunk.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from imagen_core.draw import Draw
from imagen_core.guidance.classifier_free import ClassifierFreeGuidance
from imagen_core.inpainting import InitImage
from imagen_core.sampling import sample_base
from imagen_core.stage import Prompt, Stage, load_stage
from imagen_core.text.loading import load_text_encoder

ENCODER = "things_text_encoder"  # by which things64 reads captions

STRENGTHS = (0.35, 0.55, 0.75, 0.95)  # times at which the base takes over; each for a part of the chunk
GROUP = 32  # pictures drawn at once
STEPS = 20  # from pure noise; from a strength, as many less


@lru_cache(maxsize=1)
def _base(models_dir: Path, file: str) -> tuple[Stage, object]:
    dtype = torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32
    return load_stage(models_dir / file, dtype=dtype), load_text_encoder(models_dir / ENCODER)


def redrawn(small: Tensor, captions: list[str], models_dir: Path, file: str, seed: int) -> np.ndarray:
    """small (n 3 s s) in [-1, 1], as the base `file` of `models_dir` draws it anew: (n s s 3) uint8.

    seed: what is drawn, with the captions. FileNotFoundError: the base is not there.
    """
    stage, encoder = _base(models_dir, file)
    drawn = []
    for number, first in enumerate(range(0, len(small), GROUP)):
        part = small[first : first + GROUP]
        picture = sample_base(
            stage,
            Prompt(text=encoder.encode(captions[first : first + GROUP])),
            Draw(
                seeds=[seed + first + i for i in range(len(part))],
                steps=STEPS,
                guidance=ClassifierFreeGuidance(scale=stage.spec.defaults["guidance_scale"]),
                init=InitImage(pixels=part, strength=STRENGTHS[number % len(STRENGTHS)]),
            ),
            height=small.shape[-2],
            width=small.shape[-1],
        )
        drawn.append(picture.float().cpu())
    pixels = ((torch.cat(drawn) + 1) * 127.5).round().clamp(0, 255).byte()
    return pixels.permute(0, 2, 3, 1).contiguous().numpy()
