"""What may a network put out? One file each, found by discovery: `PREDICTIONS` by name."""

from __future__ import annotations

from .._discovery import discover
from ._base import PredictionType

PREDICTIONS: dict[str, type[PredictionType]] = discover(__name__, __path__, PredictionType)


def prediction_of(prediction_type: str) -> PredictionType:
    """The prediction type of this name. Raises ValueError for an unknown one."""
    if prediction_type not in PREDICTIONS:
        raise ValueError(f"unknown prediction_type {prediction_type!r}: expected one of {', '.join(PREDICTIONS)}")
    return PREDICTIONS[prediction_type]()


__all__ = ["PREDICTIONS", "PredictionType", "prediction_of"]
