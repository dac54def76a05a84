"""Which rows of its table does an encoder need that has read English? Other scripts' letters are a twelfth of MiniLM's.

It has a token for most single letters of most scripts, and never learned what they spell: left out, such words are read
as one unknown token. What is kept keeps its row, so that everything written in Latin letters is read as before, to the bit.
"""

from __future__ import annotations

import copy
import unicodedata
from typing import Any

from torch import Tensor

TABLE = "embeddings.word_embeddings.weight"
UNUSED = "[unused"  # how rows are called that BERT left for others to use


def is_english(token: str) -> bool:
    """Whether all its letters are Latin ones; digits and signs are everybody's."""
    if token.startswith(UNUSED):
        return False
    return all(_is_latin(char) for char in token if unicodedata.category(char)[0] in "LM")


def _is_latin(char: str) -> bool:
    return unicodedata.name(char, "").startswith("LATIN ")


def kept_rows(tokenizer: dict[str, Any]) -> list[int]:
    """The rows that stay, in order, of a WordPiece tokenizer.json."""
    marks = {mark["content"] for mark in tokenizer["added_tokens"]}
    return sorted(row for token, row in tokenizer["model"]["vocab"].items() if token in marks or is_english(token))


def with_rows(tokenizer: dict[str, Any], rows: list[int]) -> dict[str, Any]:
    """A tokenizer.json that counts these rows from 0 on and knows no other tokens."""
    new = {row: place for place, row in enumerate(rows)}
    found = copy.deepcopy(tokenizer)
    found["model"]["vocab"] = {token: new[row] for token, row in tokenizer["model"]["vocab"].items() if row in new}
    for mark in found["added_tokens"]:
        mark["id"] = new[mark["id"]]
    for mark in found["post_processor"]["special_tokens"].values():
        mark["ids"] = [new[row] for row in mark["ids"]]
    return found


def with_table(weights: dict[str, Tensor], rows: list[int]) -> dict[str, Tensor]:
    """A BERT's weights with these rows of its table of words."""
    return weights | {TABLE: weights[TABLE][rows].clone()}
