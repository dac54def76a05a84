"""How are the letters A to Z drawn as strokes, and how far is a point of a sign from its word's strokes?"""

from functools import lru_cache

import torch
from torch import Tensor

from .vocabulary import MAX_LETTERS

# A letter is some strokes on a grid 2 wide and 4 high; a stroke is a chain of points "xy xy ..." in tenths of a unit.
_STROKES = {
    "A": ("0,0 10,40 20,0", "4,15 16,15"),
    "B": ("0,0 0,40 14,40 18,34 18,26 13,21 0,21", "13,21 20,15 20,6 15,0 0,0"),
    "C": ("20,33 14,40 6,40 0,32 0,8 6,0 14,0 20,7",),
    "D": ("0,0 0,40 12,40 20,31 20,9 12,0 0,0",),
    "E": ("20,40 0,40 0,0 20,0", "0,20 16,20"),
    "F": ("20,40 0,40 0,0", "0,20 16,20"),
    "G": ("20,33 14,40 6,40 0,32 0,8 6,0 14,0 20,6 20,18 11,18",),
    "H": ("0,0 0,40", "20,0 20,40", "0,20 20,20"),
    "I": ("10,0 10,40", "4,40 16,40", "4,0 16,0"),
    "J": ("20,40 20,8 14,0 6,0 0,8",),
    "K": ("0,0 0,40", "20,40 0,17", "7,24 20,0"),
    "L": ("0,40 0,0 20,0",),
    "M": ("0,0 0,40 10,16 20,40 20,0",),
    "N": ("0,0 0,40 20,0 20,40",),
    "O": ("6,0 0,8 0,32 6,40 14,40 20,32 20,8 14,0 6,0",),
    "P": ("0,0 0,40 14,40 20,34 20,25 14,19 0,19",),
    "Q": ("6,0 0,8 0,32 6,40 14,40 20,32 20,8 14,0 6,0", "12,10 21,-3"),
    "R": ("0,0 0,40 14,40 20,34 20,26 14,20 0,20", "10,20 20,0"),
    "S": ("20,34 14,40 6,40 0,33 2,25 18,16 20,8 14,0 6,0 0,6",),
    "T": ("10,0 10,40", "0,40 20,40"),
    "U": ("0,40 0,8 6,0 14,0 20,8 20,40",),
    "V": ("0,40 10,0 20,40",),
    "W": ("0,40 5,0 10,24 15,0 20,40",),
    "X": ("0,0 20,40", "0,40 20,0"),
    "Y": ("0,40 10,20 20,40", "10,20 10,0"),
    "Z": ("0,40 20,40 0,0 20,0",),
}
ALPHABET = "".join(_STROKES)
_PITCH = 3.0  # from one letter to the next, in grid units
_HALF_STROKE = 0.36
_BOX = (1.52, 0.70)  # the word's greatest width and height, in units of the sign
_FAR = 1e3


def word_to_letters(word: str | None) -> list[int]:
    """Indices into ALPHABET, filled up to MAX_LETTERS with -1; None is all -1."""
    letters = [ALPHABET.index(letter) for letter in word or ""]
    if len(letters) > MAX_LETTERS:
        raise ValueError(f"a sign holds at most {MAX_LETTERS} letters, got {word!r}: shorten the word")
    return letters + [-1] * (MAX_LETTERS - len(letters))


@lru_cache(maxsize=1)
def _segments() -> Tensor:
    """(4, strokes, letters): end points x, y, x, y, centered on the letter; short letters are filled up far away."""
    letters = []
    for strokes in _STROKES.values():
        chains = [[tuple(float(v) / 10 for v in point.split(",")) for point in stroke.split()] for stroke in strokes]
        pieces = [(*a, *b) for chain in chains for a, b in zip(chain[:-1], chain[1:], strict=True)]
        letters.append([(ax - 1, ay - 2, bx - 1, by - 2) for ax, ay, bx, by in pieces])
    longest = max(map(len, letters))
    filled = [pieces + [(_FAR, _FAR, _FAR, _FAR)] * (longest - len(pieces)) for pieces in letters]
    return torch.tensor(filled).permute(2, 1, 0).contiguous()


def stroke_distance(x: Tensor, y: Tensor, letters: Tensor) -> Tensor:
    """Signed distance of points to the ink of their words, negative inside; everything in units of the sign.

    x, y: (n,) to the right and up from the middle of the board. letters: (MAX_LETTERS, n), as from `word_to_letters`.
    """
    count = (letters >= 0).sum(0).clamp_min(1)
    scale = (_BOX[0] / (_PITCH * count - 1)).clamp_max(_BOX[1] / 4)
    gx, gy = x / scale, y / scale  # grid units
    column = torch.floor(gx / _PITCH + count / 2)
    letter = letters.gather(0, column.long().clamp(0, MAX_LETTERS - 1)[None])[0]
    gx = gx - (column + 0.5 - count / 2) * _PITCH
    ax, ay, bx, by = _segments().to(x.device)[:, :, letter.clamp_min(0)]  # (strokes, n) each
    ex, ey, px, py = bx - ax, by - ay, gx - ax, gy - ay
    along = ((px * ex + py * ey) / (ex * ex + ey * ey).clamp_min(1e-9)).clamp(0, 1)
    nearest = ((px - ex * along) ** 2 + (py - ey * along) ** 2).amin(0).sqrt()
    ink = (nearest - _HALF_STROKE) * scale
    return torch.where((letter >= 0) & (column >= 0) & (column < count), ink, torch.full_like(ink, _FAR))
