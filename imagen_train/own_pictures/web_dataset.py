"""Training data: WebDataset's tar archives, a picture and its caption under one key (extra `data`)."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from imagen_pictures.picture_files import SUFFIXES

from ._base import CAPTION_COLUMNS, Collection, Record, tidied

PICTURES = sorted(suffix.removeprefix(".") for suffix in SUFFIXES)
TEXTS = ("txt", "caption", "text")


class WebDataset(Collection):
    name = "web_dataset"
    about = "tar archives of WebDataset: 0001.jpg and 0001.txt (or 0001.json), side by side"

    @classmethod
    def matches(cls, place: Path) -> bool:
        return bool(_archives(place))

    def files(self) -> list[Path]:
        return _archives(self.place)

    def records(self) -> Iterator[Record]:
        webdataset = _library()
        for archive in _archives(self.place):
            # Samples as bytes, never decoded by the library: some of its decoders unpickle.
            samples = webdataset.WebDataset([str(archive.resolve())], shardshuffle=False, empty_check=False)
            halves: set[str] = set()  # pictures that came without a text, texts without a picture
            for sample in samples:
                key, kind = sample["__key__"], next((name for name in PICTURES if name in sample), None)
                if kind is None or not sample.keys() & {*TEXTS, "json"}:
                    _refuse_apart(archive, key, halves)
                if kind is not None:
                    opened = partial(io.BytesIO, sample[kind])
                    yield Record(name=f"{archive.name}/{key}", caption=self._caption(sample), open=opened)

    def _caption(self, sample: dict[str, Any]) -> str:
        text = next((sample[kind] for kind in TEXTS if kind in sample), None)
        if text is not None:
            return tidied(text.decode("utf-8", "replace"))
        try:
            about = json.loads(sample.get("json", b"{}"))
        except (ValueError, RecursionError):
            return ""
        names = [self.caption] if self.caption else CAPTION_COLUMNS
        return tidied(next((about[name] for name in names if name in about), "")) if isinstance(about, dict) else ""


def _refuse_apart(archive: Path, key: str, halves: set[str]) -> None:
    """ValueError where the other half of a sample came before: its caption would be lost in silence."""
    if key in halves:
        raise ValueError(
            f"{archive}: the files of {key} lie apart, and WebDataset reads those of one sample next to each other: pack it "
            "with tar --sort=name"
        )
    halves.add(key)


def _archives(place: Path) -> list[Path]:
    return sorted(place.glob("*.tar")) if place.is_dir() else [place] if place.suffix == ".tar" else []


def _library() -> Any:
    try:
        import webdataset
    except ModuleNotFoundError as error:
        raise ValueError("reading tar archives of WebDataset needs its library: pip install '.[data]'") from error
    return webdataset
