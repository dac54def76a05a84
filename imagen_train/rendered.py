"""What is one chunk of training pictures, before it lies on disk?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Rendered(NamedTuple):
    """One chunk: pixels (n h w 3) uint8, n captions ("" for none), and n numbers a label.

    small: (n h/4 w/4 3) uint8, the pictures as a base drew them; None where they are shrunk by area.
    """

    pixels: np.ndarray
    captions: list[str]
    labels: dict[str, list[int]]
    small: np.ndarray | None = None
