"""Which prompts are two models compared on? A CSV with a category a prompt, as DrawBench has it (Imagen, section 4.2)."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

OURS = Path(__file__).resolve().parent.parent / "stickers" / "prompts.csv"  # in the words that things64 knows
PROMPT_COLUMNS = ("prompt", "prompts", "caption", "text")
CATEGORY_COLUMNS = ("category", "categories", "kind")


@dataclass(frozen=True)
class Asked:
    """A prompt and what it tests."""

    prompt: str
    category: str


def read_prompts(path: Path, *, most: int | None = None) -> list[Asked]:
    """The prompts of a CSV or TSV, in its order; `most` of each category. Without such a column all are of "all".

    ValueError: no CSV, no column of prompts, a line without one (by its number), or nothing but a heading.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 ({error.reason}): save it as UTF-8") from error
    except csv.Error as error:
        raise ValueError(f"{path} is no CSV ({error}): look at its quotation marks") from error
    if not rows:
        raise ValueError(
            f"{path} holds no prompts: a heading such as category,prompt is expected, then a line for each"
        )
    asked = [_asked(row, number, path) for number, row in enumerate(rows, start=2)]
    return asked if most is None else [each for place, each in zip(_places(asked), asked, strict=True) if place < most]


def _places(asked: list[Asked]) -> list[int]:
    """Of each prompt, how many of its category come before it."""
    counts: Counter[str] = Counter()
    places = []
    for each in asked:
        places.append(counts[each.category])
        counts[each.category] += 1
    return places


def _asked(row: Mapping[str | None, str | None], line: int, path: Path) -> Asked:
    told = {name.strip().lower(): value for name, value in row.items() if isinstance(name, str)}
    column = next((name for name in PROMPT_COLUMNS if name in told), None)
    if column is None:
        columns = ", ".join(told)
        raise ValueError(
            f"{path} has columns {columns}, none of them a prompt: {' or '.join(PROMPT_COLUMNS)} is expected"
        )
    prompt = " ".join((told[column] or "").split())
    if not prompt:
        raise ValueError(f"{path}, line {line}, has no prompt: write one, or take the line out")
    category = next((told[name] for name in CATEGORY_COLUMNS if told.get(name)), "") or ""
    return Asked(prompt, " ".join(category.split()) or "all")
