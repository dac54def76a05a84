"""Do a network's settings make sense beside the file that they came with? Asked before anything is built of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .._settings_file import is_number
from ..schedules import schedule_from_config
from ..unets import UNetConfig

WIDEST = 2**16  # channels or heads; the widest published layer has 10240
MOST_LEVELS = 32
COUNTS = (
    "num_res_blocks",
    "depth",
    "fine_blocks",
    "finest_blocks",
    "text_layers",
)  # settings that say how many blocks there are, in all or in each level
LARGEST_IN_SCHEDULE = 1000.0  # of a logsnr or a shift of it; beyond, exponentials overflow
TIMES = 1024.0  # the most that one width is of another


def check_settings(config: UNetConfig, tensors: int) -> None:
    """Raise ValueError naming the setting that no network of a file with so many tensors can have."""
    settings = asdict(config)
    for name, value in settings.items():
        for number in _numbers(value):
            if not 0 <= number <= (WIDEST if isinstance(number, int) else TIMES):
                raise ValueError(f"setting {name} is {_short(number)}, and a network's lies between 0 and {WIDEST}")
        if isinstance(value, tuple) and len(value) > MOST_LEVELS:
            raise ValueError(f"setting {name} has {len(value)} entries, and a network has at most {MOST_LEVELS} levels")
    for name in COUNTS:
        if (blocks := _blocks(settings, name)) > tensors:
            raise ValueError(f"setting {name} asks for {blocks} blocks, and the file holds {tensors} tensors in all")


def _blocks(settings: Mapping[str, Any], name: str) -> int:
    value = settings.get(name, 0)
    if isinstance(value, tuple):
        return sum(value)
    return value * len(settings.get("channel_mult", (1,)))


def _numbers(value: Any) -> Iterator[int | float]:
    for item in value if isinstance(value, tuple) else (value,):
        if isinstance(item, (int, float)) and not isinstance(item, bool):
            yield item


def _short(number: int | float) -> str:
    return (
        str(number)
        if not isinstance(number, int) or abs(number) < 10**18
        else f"a number of {int(math.log10(abs(number))) + 1} digits"
    )


def check_schedule(config: Mapping[str, Any]) -> None:
    """Raise ValueError naming the setting that makes no schedule."""
    schedule = schedule_from_config(config)
    for name in (field.name for field in fields(schedule) if isinstance(field.default, float)):
        value = getattr(schedule, name)
        if not is_number(value) or abs(value) > LARGEST_IN_SCHEDULE:
            raise ValueError(
                f"the schedule's {name} is {value!r}, expected a number of at most {LARGEST_IN_SCHEDULE:g}"
            )


def in_short(error: object) -> str:
    """One line of an error, and no more than fits a panel: it may quote what the file holds."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return line if len(line) <= 300 else f"{line[:200]} ... {line[-90:]}"


def built_empty(build: Callable[[], nn.Module], path: Path) -> nn.Module:
    """The network without memory. ValueError, naming the file, for settings that passed `check_settings` and are none."""
    try:
        with torch.device("meta"):
            return build()
    except (ValueError, TypeError, RuntimeError, ArithmeticError, AssertionError, LookupError) as error:
        raise ValueError(f"{path}: its settings describe no network ({in_short(error)}); download it again") from error


def finite(tensor: Tensor, path: Path, key: str) -> Tensor:
    """The tensor itself. ValueError where it holds what is no number: one of them spoils every picture."""
    if not tensor.sum(dtype=torch.float32).isfinite():
        name = str(tensor.dtype).removeprefix("torch.")
        raise ValueError(
            f"{path}: {key!r} holds NaN or infinite numbers as {name}; get the file again, or a wider dtype"
        )
    return tensor
