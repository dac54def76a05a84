"""Where are the thousands of pictures that a measurement draws kept, so that it may stop and go on?

Shapes: b pictures, 3 channels, 64 x 64 pixels.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from imagen_core.sampling import sample_base
from imagen_core.stage import Prompt, Stage
from imagen_core.text.t5 import T5TextEncoder
from imagen_core.whole_files import whole

from .data import to_float
from .evaluate import SamplingSettings

CHUNK = 32


def file_digest(*paths: Path) -> str:
    """Short name of the files' contents: figures of other weights must not be mixed with these."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@dataclass(frozen=True, kw_only=True)
class Drawings:
    """Base pictures of `captions`, the i-th from seed `first_seed` + i, kept in `folder` by chunks of uint8 .npy.

    A chunk is there whole or not at all. The folder's name tells weights and settings apart (`drawings_of`).
    """

    stage: Stage
    encoder: T5TextEncoder
    captions: Sequence[str]
    first_seed: int
    settings: SamplingSettings
    folder: Path

    def _path(self, chunk: int) -> Path:
        return self.folder / f"{chunk:05d}.npy"

    def __len__(self) -> int:
        return -(-len(self.captions) // CHUNK)

    def draw(self) -> Iterator[int]:
        """Draw what is missing; yields how many pictures there are after each chunk."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for chunk in range(len(self)):
            part = self.captions[chunk * CHUNK : (chunk + 1) * CHUNK]
            if not self._path(chunk).exists():
                self._write(chunk, self._sample(list(part), self.first_seed + chunk * CHUNK))
            yield chunk * CHUNK + len(part)

    def _sample(self, captions: list[str], seed: int) -> Tensor:
        return sample_base(
            self.stage,
            Prompt(text=self.encoder.encode(captions)),
            self.settings.draw(range(seed, seed + len(captions))),
        )

    def _write(self, chunk: int, pictures: Tensor) -> None:
        pixels = ((pictures + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1)
        with whole(self._path(chunk)) as draft, open(draft, "wb") as file:
            np.save(file, pixels.contiguous().numpy(), allow_pickle=False)

    def drawn(self) -> Tensor:
        """The pictures from the first on that are there by now: (b 3 64 64) in [-1, 1]."""
        chunks = []
        for chunk in range(len(self)):
            if not self._path(chunk).exists():
                break
            chunks.append(to_float(np.load(self._path(chunk), allow_pickle=False)))
        return torch.cat(chunks) if chunks else torch.empty(0, 3, 64, 64)


def drawings_of(
    root: Path,
    weights: str,
    stage: Stage,
    encoder: T5TextEncoder,
    captions: Sequence[str],
    *,
    first_seed: int,
    settings: SamplingSettings,
) -> Drawings:
    """`Drawings` under `root`, in a folder named by `weights` (see `file_digest`), captions, seed and settings."""
    asked = json.dumps([weights, list(captions), first_seed, dataclasses.asdict(settings)])
    return Drawings(
        stage=stage,
        encoder=encoder,
        captions=captions,
        first_seed=first_seed,
        settings=settings,
        folder=root / "drawn" / hashlib.sha256(asked.encode()).hexdigest()[:16],
    )
