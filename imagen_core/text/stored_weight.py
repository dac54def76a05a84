"""How does one weight rest as its file holds it (fp32, fp16, bf16, fp8, GGUF blocks), and become numbers to compute with?

Weights stay as stored; `dense` makes a compute-ready copy of one, which the caller drops after use.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from .gguf_blocks import dequantise

FLOAT8 = tuple(getattr(torch, name) for name in ("float8_e4m3fn", "float8_e5m2") if hasattr(torch, name))


class StoredWeight(Protocol):
    """A weight as its file holds it."""

    @property
    def nbytes(self) -> int:
        """The bytes it occupies as stored."""
        ...

    def dense(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        """All of it, on `device` as `dtype`; the stored tensor itself where nothing has to change."""
        ...

    def rows(self, index: Tensor) -> StoredWeight:
        """Only the rows (of the first axis) that `index` (n,) names, still as stored: a look-up in a large table."""
        ...


@dataclass(frozen=True, kw_only=True)
class FloatWeight:
    """A tensor of any float type. `scale`: what an fp8 file multiplies it by, one number or one a row; None for none."""

    stored: Tensor
    scale: Tensor | None = None

    @property
    def nbytes(self) -> int:
        return self.stored.nbytes

    def dense(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        moved = self.stored.to(device)  # first, so that the bus carries the small form
        if self.scale is None:
            return moved.to(dtype)
        return (moved.float() * self.scale.to(device, torch.float32)).to(dtype)

    def rows(self, index: Tensor) -> FloatWeight:
        scale = self.scale
        if scale is not None and scale.ndim == 2 and scale.shape[0] > 1:
            scale = scale[index]
        if self.stored.dtype in FLOAT8:  # torch cannot gather fp8 everywhere; its bytes it can
            picked = self.stored.view(torch.uint8)[index].view(self.stored.dtype)
        else:
            picked = self.stored[index]
        return replace(self, stored=picked, scale=scale)


@dataclass(frozen=True, kw_only=True)
class GgufWeight:
    """Quantised blocks. `stored` (rows, bytes a row) uint8; `kind` a ggml type's number."""

    stored: Tensor
    kind: int

    @property
    def nbytes(self) -> int:
        return self.stored.nbytes

    def dense(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        return dequantise(self.stored.to(device), self.kind, dtype)  # moved first, as stored

    def rows(self, index: Tensor) -> GgufWeight:
        return replace(self, stored=self.stored[index])
