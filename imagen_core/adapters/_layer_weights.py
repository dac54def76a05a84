"""How much does a reference count in each layer that reads it? The curves and names that IP-Adapter's users know.

Early layers decide what is where, late ones how it looks. Layers are numbered in the order in which the network comes to
them; "input", "middle" and "output" are the first, the second and the last third of them.
"""

from __future__ import annotations

from collections.abc import Callable

LINEAR = "linear"  # the same in all
LEAST = 0.05  # of the weight, that is left where an eased one is lowest
WEAK = 0.2  # of the weight, that is left of a weak part's

INPUT, MIDDLE, OUTPUT = range(3)


def _eased(share: float) -> float:
    return LEAST + (1.0 - LEAST) * share


def _weak_in(*parts: int) -> Callable[[int, int], float]:
    return lambda index, count: WEAK if 3 * index // count in parts else 1.0


def _from_middle(index: int, count: int) -> float:
    """How far a layer is from the middle one, 0 to 1."""
    return abs(2.0 * index / count - 1.0)


# Each of (index, count): the factor of the weight in layer `index` of `count`.
WEIGHT_TYPES: dict[str, Callable[[int, int], float]] = {
    LINEAR: lambda index, count: 1.0,
    "ease in": lambda index, count: _eased(1.0 - index / count),
    "ease out": lambda index, count: _eased(index / count),
    "ease in-out": lambda index, count: _eased(1.0 - _from_middle(index, count)),
    "reverse in-out": lambda index, count: _eased(_from_middle(index, count)),
    "weak input": _weak_in(INPUT),
    "weak output": _weak_in(OUTPUT),
    "weak middle": _weak_in(MIDDLE),
    "strong middle": _weak_in(INPUT, OUTPUT),
}


def layer_weights(weight_type: str, count: int) -> list[float]:
    """The factor of each of `count` layers. ValueError for a weight_type that is none."""
    if weight_type not in WEIGHT_TYPES:
        raise ValueError(f"unknown weight_type {weight_type!r}: expected one of {', '.join(WEIGHT_TYPES)}")
    return [WEIGHT_TYPES[weight_type](index, count) for index in range(count)]
