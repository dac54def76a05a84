"""How do the tables of docs/claims.md stay what was measured? They stand between marks, and are written from the JSON."""

from __future__ import annotations

import re

from . import CLAIMS
from ._base import ROOT, rows_of

PAGE = ROOT / "docs" / "claims.md"
_TABLE = re.compile(r"<!-- table (\w+) -->\n.*?<!-- end -->", re.DOTALL)


def in_page(text: str) -> str:
    """The page with every table as its rows have it. ValueError: a mark names no claim."""
    return _TABLE.sub(_written, text)


def _written(mark: re.Match[str]) -> str:
    name = mark[1]
    if name not in CLAIMS:
        raise ValueError(f"docs/claims.md asks for the table of {name!r}: expected one of {', '.join(CLAIMS)}")
    rows = rows_of(name)
    table = CLAIMS[name]().table(rows) if rows else f"Not run here: `python -m benchmarks.claims {name}`"
    return f"<!-- table {name} -->\n{table}\n<!-- end -->"
