"""What is asked of a stage that draws classes? Their numbers, in the place of a prompt."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

IMAGENET = Path(__file__).resolve().with_name("imagenet_classes.tsv")  # which says where it is from


@dataclass(frozen=True, kw_only=True)
class Classes:
    """One class for every picture, or one for each; the stage says which there are."""

    labels: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.labels:
            raise ValueError("no class is named: give one number, or one a picture")

    def of_each(self, batch: int) -> Tensor:
        """(b,) integers. Raises ValueError for neither one label nor `batch` of them."""
        if len(self.labels) not in (1, batch):
            raise ValueError(f"{len(self.labels)} classes for {batch} images: give one class, or one an image")
        return torch.tensor(self.labels if len(self.labels) == batch else self.labels * batch)


def labels_of(text: str) -> tuple[int, ...]:
    """Numbers of classes, from their numbers or ImageNet's names with commas between them: "207, tench".

    Raises ValueError for a name that is none, saying what comes near it, and for one that several classes have.
    """
    return tuple(_label_of(entry.strip()) for entry in text.split(","))


def _label_of(entry: str) -> int:
    if entry.isdecimal() and entry.isascii():
        return int(entry)
    known = imagenet_names()
    found = known.get(entry.casefold(), ())
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"{entry!r} is the name of the classes {', '.join(map(str, found))}: give one of the numbers")
    near = difflib.get_close_matches(entry.casefold(), known, n=4, cutoff=0.6)
    near += [name for name in known if entry.casefold() in name and name not in near][: 4 - len(near)]
    hint = f"; near it are {', '.join(near)}" if near else ""
    raise ValueError(f"{entry!r} is no name of ImageNet's thousand classes: give a name or a number, 0 to 999{hint}")


@lru_cache(maxsize=1)
def imagenet_names() -> dict[str, tuple[int, ...]]:
    """Numbers by name, in small letters; of two classes with one name in common, that whose first name it is."""
    lines = IMAGENET.read_text(encoding="utf-8").splitlines()
    classes = [line.casefold().partition("\t")[::2] for line in lines if not line.startswith("#")]
    first: dict[str, tuple[int, ...]] = {}
    others: dict[str, tuple[int, ...]] = {}
    for number, (name, synonyms) in enumerate(classes):
        first[name] = (*first.get(name, ()), number)
        for synonym in filter(None, synonyms.split(", ")):
            others[synonym] = (*others.get(synonym, ()), number)
    return {**others, **first}
