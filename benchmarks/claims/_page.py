"""How do the tables of docs/claims.md stay what was measured? They stand between marks, and are written from the JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from . import CLAIMS
from ._base import ROOT, Row, measured

PAGE = ROOT / "docs" / "claims.md"
_TABLE = re.compile(r"<!-- table (\w+) -->\n.*?<!-- end -->", re.DOTALL)


def in_page(text: str) -> str:
    """The page with every table as its rows have it. ValueError: a mark names no claim."""
    return _TABLE.sub(_written, text)


def _written(mark: re.Match[str]) -> str:
    name = mark[1]
    if name not in CLAIMS:
        raise ValueError(f"docs/claims.md asks for the table of {name!r}: expected one of {', '.join(CLAIMS)}")
    found = measured(name)
    if not found["rows"]:
        inside = f"Not run here: `python -m benchmarks.claims {name}`"
    else:
        claim = CLAIMS[name]()
        inside = f"{_asked(name, found)}\n\n{claim.table(found['rows'])}\n\n![{claim.about}](claims/{name}.svg)"
    return f"<!-- table {name} -->\n{inside}\n<!-- end -->"


def _asked(name: str, found: Mapping[str, Any]) -> str:
    """The command that measures these rows, and of which files they are."""
    settings = found["settings"] | ({"seeds": seeds} if (seeds := seeds_of(found["rows"])) else {})
    told = [(k, v) for k, v in settings.items() if v and not isinstance(v, str)]
    words = [f"--{k} {' '.join(f'{x:g}' for x in (v if isinstance(v, list) else [v]))}" for k, v in told]
    files = [v for v in settings.values() if isinstance(v, str)]
    weights = f" (weights: {', '.join(files)})" if files else ""
    return f"`python -m benchmarks.claims {' '.join([name, *words])}`{weights}"


def seeds_of(rows: Sequence[Row]) -> list[int]:
    return sorted({row["seed"] for row in rows if "seed" in row})
