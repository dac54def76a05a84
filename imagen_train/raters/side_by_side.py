"""How do people compare two models without knowing which is which? One page, pictures side by side, shuffled, offline.

As Imagen's raters were asked (section 4.1): which side is of higher quality, which shows better what is written, or no
difference. Which model stands on which side is written into a second file, the key, that the page does not know.

Shapes: n prompts, k pictures a prompt, h w pixels.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
from PIL import Image
from torch import Tensor

from imagen_core.whole_files import write

from ..sheets import grid
from .prompt_sets import Asked

PAGE, KEY = "compare.html", "key.json"
FORMAT = "imagen-side-by-side"
TEMPLATE = Path(__file__).with_name("page.html")


class Pages(NamedTuple):
    """What was written."""

    page: Path
    key: Path


def write_pages(
    folder: Path,
    asked: Sequence[Asked],
    drawn: tuple[Tensor, Tensor],
    names: tuple[str, str],
    *,
    seed: int = 0,
    shown_side: int = 512,
) -> Pages:
    """Write folder/compare.html and folder/key.json for the pictures of two models, each (n k 3 h w) in [-1, 1].

    seed: of the order, and of which model stands left: each on as many prompts as the other. shown_side: pixels across a
    side of the page.
    """
    rng = Random(f"side by side {seed}")
    order = rng.sample(range(len(asked)), len(asked))
    left = [i % 2 for i in range(len(asked))]
    rng.shuffle(left)
    items, told = [], {}
    for number, index in enumerate(order):
        name, first = f"{number:04d}", left[number]
        sides = [_picture(drawn[model][index]) for model in (first, 1 - first)]
        items.append({"id": name, "prompt": asked[index].prompt, "left": sides[0], "right": sides[1]})
        told[name] = {"prompt": asked[index].prompt, "category": asked[index].category, "left": first}
    page_id = hashlib.sha256(json.dumps(items).encode()).hexdigest()[:16]
    key = {"format": FORMAT, "page": page_id, "models": list(names), "items": told}
    write(folder / KEY, (json.dumps(key, indent=1) + "\n").encode())
    write(folder / PAGE, _page(page_id, items, shown_side).encode())
    return Pages(folder / PAGE, folder / KEY)


def _page(page_id: str, items: list[dict[str, str]], shown_side: int) -> str:
    told = json.dumps({"page": page_id, "items": items}).replace("</", "<\\/")  # lest a prompt end the script
    return TEMPLATE.read_text(encoding="utf-8").replace("{{side}}", str(shown_side)).replace("{{told}}", told)


def _picture(pictures: Tensor) -> str:
    """Pictures (k 3 h w) as one, in a data URI: a row of one, else two columns."""
    sheet = grid(pictures, columns=min(2, len(pictures)))  # 3 h w
    pixels = ((sheet.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
