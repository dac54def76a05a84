"""What a network is told besides the noisy picture: text, a low-resolution picture, an augmentation level.

Shapes: b batch, l text tokens, d text width, n attention heads, k head width, c h w a picture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F


def _pad_tokens(tensor: Tensor, length: int, dim: int) -> Tensor:
    """Append zeros along token axis `dim` up to `length`."""
    missing = length - tensor.shape[dim]
    if missing == 0:
        return tensor
    after = tensor.ndim - 1 - dim % tensor.ndim
    return F.pad(tensor, (0, 0) * after + (0, missing))


@dataclass(frozen=True, kw_only=True)
class TextEmbeds:
    """A text encoder's output: `embeds` (b l d), `mask` (b l) bool, True where a token is real."""

    embeds: Tensor
    mask: Tensor

    @staticmethod
    def null(batch: int, dim: int, *, device: torch.device | str = "cpu") -> TextEmbeds:
        """The unconditional prompt: one token of zeros (Imagen zeroes the embeddings, section 2.2)."""
        return TextEmbeds(
            embeds=torch.zeros(batch, 1, dim, device=device),
            mask=torch.ones(batch, 1, dtype=torch.bool, device=device),
        )


@dataclass(frozen=True, kw_only=True)
class TextContext:
    """Everything a U-Net derives from a prompt, computed once and reused at every step.

    keys_values: one (keys, values) pair an attention layer, each (b n l k), in the order of the layers.
    pooled: (b e), what attention pooling adds to the time embedding.  mask: (b l) bool.
    padded: False promises that every token is real, so that attention may run without a mask.
    """

    keys_values: tuple[tuple[Tensor, Tensor], ...]
    pooled: Tensor
    mask: Tensor
    padded: bool = True

    def repeat(self, count: int) -> TextContext:
        """The same prompts `count` times along the batch, prompt-major."""

        def again(tensor: Tensor) -> Tensor:
            return tensor.repeat_interleave(count, 0)

        return TextContext(
            keys_values=tuple((again(keys), again(values)) for keys, values in self.keys_values),
            pooled=again(self.pooled),
            mask=again(self.mask),
            padded=self.padded,
        )

    def cat(self, other: TextContext) -> TextContext:
        """Join along the batch; the shorter prompt is padded with masked tokens."""
        length = max(self.mask.shape[1], other.mask.shape[1])

        def join(a: Tensor, b: Tensor, dim: int) -> Tensor:
            return torch.cat([_pad_tokens(a, length, dim), _pad_tokens(b, length, dim)])

        return TextContext(
            keys_values=tuple(
                (join(k_a, k_b, -2), join(v_a, v_b, -2))
                for (k_a, v_a), (k_b, v_b) in zip(self.keys_values, other.keys_values, strict=True)
            ),
            pooled=torch.cat([self.pooled, other.pooled]),
            mask=join(self.mask, other.mask, -1),
            padded=self.padded or other.padded or self.mask.shape[1] != other.mask.shape[1],
        )


def aug_level_to_timestep(aug_level: Tensor) -> Tensor:
    """aug_level (b,) in [0, 1] as DeepFloyd IF's noise level (b,): int(1000 aug_level), at most 999, float32.

    The thousandth makes up for float32, in which 0.29 is a little less than it says.
    """
    return (aug_level.double() * 1000.0 + 1e-3).floor().clamp(0.0, 999.0).float()


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """One forward pass's conditions. `low_res` is already resized and noised: (b c h w); `aug_level` (b,) in [0,1]."""

    text: TextContext | None = None
    low_res: Tensor | None = None
    aug_level: Tensor | None = None

    def cat(self, other: Conditioning) -> Conditioning:
        """Join two conditionings along the batch (conditional and null run as one batch)."""
        return Conditioning(
            text=None if self.text is None else self.text.cat(other.text),
            low_res=None if self.low_res is None else torch.cat([self.low_res, other.low_res]),
            aug_level=None if self.aug_level is None else torch.cat([self.aug_level, other.aug_level]),
        )

    def with_text(self, text: TextContext | None) -> Conditioning:
        """The same picture conditions under another prompt."""
        return replace(self, text=text)
