"""How does a CLIP's text tower read prompts in the place of T5 (Stable Diffusion, Karlo; Imagen, section 4.1)?

Its last hidden states, under the final norm, are the sequence. It computes in float32 from weights that rest in main
memory, and visits the device while prompts are read.

Shapes: b prompts, l tokens, d the tower's width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..text.own_network import Batch, checked, visiting
from ..text.tokenizer import Tokenizer
from .loading import load_clip
from .network import ClipNetwork


@dataclass(frozen=True, kw_only=True)
class ClipTextConfig:
    """What an encoder's tokens and rows are."""

    vocab_size: int  # rows of the table of embeddings
    d_model: int  # width of a prompt's embeddings
    max_positions: int  # the longest prompt, its two marks included
    pad_token_id: int  # fills a batch of prompts up to the longest
    prefix_ids: tuple[int, ...]  # marks before a text
    eos_token_id: int  # the mark after it


class ClipTextNetwork:
    """network(batches) -> one (b l d) a batch. Pads follow the end mark, and a causal tower does not see them from it."""

    visits = True  # the tower goes to the device for a call, and home after it; False: a host moves it

    def __init__(self, clip: ClipNetwork, config: ClipTextConfig, file: Path, device: torch.device | str) -> None:
        self.clip, self.config, self.file, self.device = clip, config, file, torch.device(device)
        self.dtype = next(clip.parameters()).dtype

    @property
    def module(self) -> nn.Module:
        """What a host moves whose affair that is (see `text.movable`)."""
        return self.clip.text_model

    @torch.no_grad()
    def __call__(self, batches: Sequence[Batch]) -> list[Tensor]:
        with visiting(self):
            hidden = [self.module(ids).hidden for ids, _ in batches]
        return checked(hidden, self.file, self.clip.state_dict().items())


def pooling_of(clip: ClipNetwork) -> Callable[[Tensor], Tensor] | None:
    """What makes of the hidden states at texts' ends (b d) their vectors in the common space (b e), in float32 on the CPU.

    None for a tower whose file has no projection.
    """
    if clip.text_projection is None:
        return None
    return lambda ends: F.linear(ends.float().cpu(), clip.text_projection.weight.detach().float().cpu())


def load_clip_text_encoder(
    path: Path,
    *,
    tokenizer: Path | None,
    tokenizer_places: Iterable[Path],
    device: torch.device | str,
    dtype: torch.dtype,
) -> tuple[ClipTextNetwork, Tokenizer]:
    """The text tower of whatever `load_clip` reads, with its tokenizer; errors are as there."""
    clip = load_clip(path, tokenizer=tokenizer, tokenizer_places=tokenizer_places, dtype=dtype, towers=("text",))
    text = clip.network.config.text
    config = ClipTextConfig(
        vocab_size=text.vocab_size,
        d_model=text.width,
        max_positions=text.positions,
        pad_token_id=text.end,
        prefix_ids=(clip.start,),
        eos_token_id=text.end,
    )
    return ClipTextNetwork(clip.network, config, path, device), clip.tokenizer
