"""How are captions read once and not again? Their embeddings lie beside the pictures, in files that are read by memory map.

A chunk of pictures has one file of tokens a text encoder, `00012.<encoder>.npy` (all its captions' tokens, one after
another, float16) and one of where each caption ends, `00012.<encoder>.ends.npy`. The tokens are moved into place last.

Shapes: b images, l text tokens, d text width.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from imagen_core.conditioning import TextEmbeds
from imagen_core.text.t5 import T5TextEncoder
from imagen_core.whole_files import whole

from .data import PictureCache
from .parallel import rank, workers


class CaptionEmbeds:
    """Encoded captions of a cache's pictures; `refresh()` takes in new chunks, `of(indices)` gives a padded TextEmbeds.

    encoder: reads what no file holds yet. name: of the encoder's weights in the files' names.
    """

    def __init__(self, cache: PictureCache, encoder: T5TextEncoder, name: str, *, batch: int = 256):
        self.cache, self.encoder, self.name, self.batch = cache, encoder, name, batch
        self._tokens: list[np.ndarray] = []
        self._ends: list[np.ndarray] = []
        self.refresh()

    def refresh(self) -> None:
        """Take in, or encode, the captions of chunks that are new in the cache; workers begin with a share each."""
        new = range(len(self._tokens), len(self.cache.chunks))
        for index in [*new[rank() :: workers()], *new]:
            if not self._tokens_file(index).exists():
                self._encode(index)
        for index in new:
            tokens = self._tokens_file(index)
            self._tokens.append(np.load(tokens, mmap_mode="r", allow_pickle=False))
            self._ends.append(np.load(tokens.with_suffix(".ends.npy"), allow_pickle=False))

    def _tokens_file(self, index: int) -> Path:
        return self.cache.folder / f"{index:05d}.{self.name}.npy"

    @torch.no_grad()
    def _encode(self, index: int) -> None:
        captions = [self.cache.captions[i] for i in self.cache.span(index)]
        order = sorted(range(len(captions)), key=lambda i: len(captions[i]))  # prompts of one length share a batch
        rows: dict[int, np.ndarray] = {}
        for start in range(0, len(order), self.batch):
            chosen = order[start : start + self.batch]
            encoded = self.encoder.encode([captions[i] for i in chosen])
            for i, row, mask in zip(chosen, encoded.embeds.cpu(), encoded.mask.cpu(), strict=True):
                rows[i] = row[mask].half().numpy()
        tokens = self._tokens_file(index)
        _write(tokens.with_suffix(".ends.npy"), np.cumsum([len(rows[i]) for i in range(len(captions))]))
        _write(tokens, np.concatenate([rows[i] for i in range(len(captions))]))

    def of(self, indices: list[int], dropped: Tensor) -> TextEmbeds:
        """TextEmbeds of these captions; where `dropped` (b,) is True, the null prompt: one token of zeros."""
        rows = [
            torch.zeros(1, self.encoder.embed_dim) if gone else self.row(index)
            for index, gone in zip(indices, dropped.tolist(), strict=True)
        ]
        embeds = nn.utils.rnn.pad_sequence(rows, batch_first=True)  # b l d
        lengths = torch.tensor([len(row) for row in rows])
        return TextEmbeds(embeds=embeds, mask=torch.arange(embeds.shape[1]) < lengths[:, None])

    def row(self, index: int) -> Tensor:
        """One picture's caption, (l d) float32."""
        chunk, place = self.cache.place(index)
        ends = self._ends[chunk]
        return torch.from_numpy(np.array(self._tokens[chunk][ends[place - 1] if place else 0 : ends[place]])).float()


def _write(path: Path, values: np.ndarray) -> None:
    with whole(path) as draft, open(draft, "wb") as file:
        np.save(file, values, allow_pickle=False)


def encoder_width(folder: Path) -> int:
    """How wide an encoder's embeddings are, from its config.json. ValueError where there is none."""
    if not (config := folder / "config.json").is_file():
        raise ValueError(
            f"there is no text encoder at {folder}: put one there, such as MiniLM (`imagen data encoder --out {folder}`)"
        )
    about = json.loads(config.read_text(encoding="utf-8"))
    return about["d_model"] if "d_model" in about else about["hidden_size"]


def encoder_for(width: int, folders: Sequence[Path]) -> Path:
    """Of the text encoders in models folders the one that embeds this wide: the first, `text_encoder` before others.

    ValueError, saying where was looked, where there is none.
    """
    for folder in folders:
        for config in [folder / "text_encoder" / "config.json", *sorted(folder.glob("*_text_encoder/config.json"))]:
            if config.is_file() and encoder_width(config.parent) == width:
                return config.parent
    places = " or ".join(str(folder) for folder in dict.fromkeys(folders))
    raise ValueError(f"no text encoder of width {width}, which the base reads, in {places}: name one by --text-encoder")


def encoder_name(folder: Path) -> str:
    """Eight letters that change with the encoder's weights or tokenizer."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")) + sorted(folder.glob("tokenizer.json")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:8]
