"""How does a batch run through a network that has memory for only a part of it? In parts, with the same result.

Shapes: b images of the batch, c h w a picture.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .conditioning import Signals, part_of


class InParts(nn.Module):
    """network(x_t, time, told), at most `rows` images at a time; None for all at once.

    When the device runs out of memory nevertheless, the parts are halved, down to single images, and stay so. Images of
    a batch do not see each other, so that parts change a picture only by the rounding of another batch size.
    """

    def __init__(self, network: nn.Module, rows: int | None = None) -> None:
        super().__init__()
        if rows is not None and rows < 1:
            raise ValueError(f"parts of {rows} images hold none: ask for at least 1, or None for the whole batch")
        self.network, self.rows = network, rows

    def forward(self, x_t: Tensor, time: Tensor, told: Signals) -> Tensor:
        while True:
            rows = min(self.rows or len(x_t), len(x_t))
            try:
                return self._in_parts_of(rows, x_t, time, told)
            except torch.OutOfMemoryError:
                if rows == 1:
                    raise
            self.rows = (rows + 1) // 2  # outside of the except clause, which keeps the failed run's tensors alive
            torch.cuda.empty_cache()

    def _in_parts_of(self, rows: int, x_t: Tensor, time: Tensor, told: Signals) -> Tensor:
        if rows >= len(x_t):
            return self.network(x_t, time, told)
        parts = [slice(start, start + rows) for start in range(0, len(x_t), rows)]
        return torch.cat([self.network(x_t[part], time[part], part_of(told, part)) for part in parts])
