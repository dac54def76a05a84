"""How does any value become JSON that every reader takes?"""

from __future__ import annotations

import json
import math
from typing import Any

MOST_VALUES = 1_000_000  # in one request: a graph of 5,000 nodes has a third of them


def as_text(value: Any) -> str:
    """JSON that every reader takes: what JSON cannot say becomes text, and a number that is not finite null."""
    try:
        return json.dumps(value, allow_nan=False, default=str)
    except ValueError:
        return json.dumps(_without_nan(value), allow_nan=False, default=str)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {_without_nan_key(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _without_nan_key(key: Any) -> Any:
    return str(key) if isinstance(key, float) else key
