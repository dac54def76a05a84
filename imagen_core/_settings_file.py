"""How is a JSON file of settings read when it may hold anything? Bounded in size and nesting, or one clear error."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

MAX_BYTES = 16 * 2**20  # an index of shards has a name for each weight, and a list of betas a number for each timestep


def read_settings(path: Path) -> dict[str, Any]:
    """The object in a file. ValueError, naming it, for what is no JSON object, too large or nested too deep."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): look at its permissions") from error
    if len(raw) > MAX_BYTES:
        raise ValueError(f"{path} is larger than {MAX_BYTES // 2**20} MB, and no file of settings: download it again")
    content = parsed(raw, path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds {type(content).__name__}, expected an object: download it again")
    return content


def parsed(text: str | bytes, source: object) -> Any:
    """What some JSON says. ValueError, naming `source`, for what is none, or nested deeper than any settings are."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError(f"{source} is nested too deep for settings: download it again") from error
    except ValueError as error:  # also a number of more digits than Python converts, and bytes that are no text
        raise ValueError(f"{source} is no JSON ({error}): download it again") from error


def is_number(value: Any) -> bool:
    """Whether a setting is a number that can be computed with: not true, NaN, infinite, or of hundreds of digits."""
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and -math.inf < value < math.inf
        and abs(value) < 1e300
    )
