"""How does a checkpoint want a prompt to be read? As the captions were that it was trained on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

NULLS = ("zeros", "empty")


@dataclass(frozen=True, kw_only=True)
class TextReading:
    """A stage's way with text; the defaults are Imagen's."""

    tokens: int | None = (
        None  # how many it reads, always: longer prompts are cut, pads are read; None: as many as there are
    )
    lower_case: bool = False  # whether it knows only lower case, without blanks at the ends
    cleaned: bool = False  # whether its captions were cleaned as DeepFloyd IF's were (captions.py)
    null: str = "zeros"  # the prompt that says nothing: zeroed embeddings, or what the encoder makes of an "empty" text

    def __post_init__(self) -> None:
        if self.null not in NULLS:
            raise ValueError(f"unknown null prompt {self.null!r}: expected one of {', '.join(NULLS)}")
        for name in ("lower_case", "cleaned"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} is {getattr(self, name)!r}: expected true or false")
        if self.tokens is not None and (type(self.tokens) is not int or self.tokens < 1):
            raise ValueError(f"tokens is {self.tokens!r}: expected a whole number, or none for as many as there are")


AS_CLIP = TextReading(tokens=77, null="empty")  # of stages and priors that read CLIP's text, and all of it
AS_DEEPFLOYD = TextReading(tokens=77, lower_case=True, cleaned=True, null="empty")


def reading_to_dict(reading: TextReading) -> dict[str, Any]:
    """As JSON-able settings."""
    return asdict(reading)


def reading_from_dict(settings: dict[str, Any]) -> TextReading:
    """Inverse of `reading_to_dict`. Raises ValueError naming an unknown setting or a wrong value."""
    unknown = set(settings) - {field.name for field in fields(TextReading)}
    if unknown:
        raise ValueError(f"unknown settings {sorted(unknown)} of how text is read: is it from a newer version?")
    return TextReading(**settings)
