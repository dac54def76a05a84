"""How does a prompt become token ids and nothing more, for a network that reads them itself (GLIDE)? By GPT-2's byte pairs.

A folder holds config.json with model_type "byte_pairs", and merges.txt: one pair a line, the most frequent first. The
vocabulary follows: 256 bytes in GPT-2's order, a token for each pair, and last the mark that stands at padding.

Shapes: b prompts, l tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .own_network import Batch
from .tokenizer import Tokenizer, byte_pair_tokenizer

KIND = "byte_pairs"
MERGES = "merges.txt"


@dataclass(frozen=True, kw_only=True)
class IdsConfig:
    """What `T5TextEncoder` asks of any encoder."""

    vocab_size: int  # ids there are
    pad_token_id: int  # the last of them
    d_model: int = 1  # an id stands where others have embeddings
    prefix_ids: tuple[int, ...] = ()  # nothing begins one either
    eos_token_id: int | None = None  # nothing ends a text: padding follows it


class IdsNetwork:
    """network(batches) -> the ids themselves, one (b l 1) a batch, in float32, which holds them exactly."""

    dtype = torch.float32

    def __init__(self, config: IdsConfig, device: torch.device | str) -> None:
        self.config, self.device = config, torch.device(device)

    def __call__(self, batches: Sequence[Batch]) -> list[Tensor]:
        return [ids[..., None].float() for ids, _ in batches]


def load_byte_pairs(folder: Path, *, device: torch.device | str = "cpu") -> tuple[IdsNetwork, Tokenizer]:
    """Of a folder with a merges.txt. FileNotFoundError where it has none; ValueError where it cannot be read."""
    tokenizer = byte_pair_tokenizer(folder / MERGES)
    config = IdsConfig(vocab_size=tokenizer.size, pad_token_id=tokenizer.size - 1)
    return IdsNetwork(config, device), tokenizer
