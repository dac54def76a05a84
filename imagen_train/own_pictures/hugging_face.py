"""Training data: a Hugging Face dataset on the disk, as `save_to_disk` wrote it or as parquet files (extra `data`)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ._base import CAPTION_COLUMNS, Collection, Record, chosen_column, tidied

IMAGE_COLUMNS = ("image", "img", "picture", "pixel_values", "jpg", "png")


class HuggingFace(Collection):
    name = "hugging_face"
    about = "a Hugging Face dataset: a folder of save_to_disk, or parquet files"

    @classmethod
    def matches(cls, place: Path) -> bool:
        return _is_saved(place) or bool(_parquet(place))

    def records(self) -> Iterator[Record]:
        table = self._table()
        pictures = chosen_column(table.column_names, IMAGE_COLUMNS, None, self.place, "a picture")
        captions = chosen_column(table.column_names, CAPTION_COLUMNS, self.caption, self.place, "a caption")
        table = table.select_columns([pictures, captions]).cast_column(pictures, _undecoded())
        for number, row in enumerate(table):
            opened = partial(_opened, row[pictures], self.place.parent, f"row {number} of {self.place}")
            yield Record(name=f"{number:09d}", caption=tidied(row[captions]), open=opened)

    def _table(self) -> Any:
        datasets = _library()
        if not _is_saved(self.place):
            return datasets.load_dataset("parquet", data_files=[str(path) for path in _parquet(self.place)])["train"]
        saved = datasets.load_from_disk(str(self.place))
        return datasets.concatenate_datasets(list(saved.values())) if isinstance(saved, dict) else saved


def _is_saved(place: Path) -> bool:
    return (place / "dataset_dict.json").is_file() or (place / "state.json").is_file()


def _parquet(place: Path) -> list[Path]:
    return sorted(place.rglob("*.parquet")) if place.is_dir() else [place] if place.suffix == ".parquet" else []


def _library() -> Any:
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise ValueError("reading a Hugging Face dataset needs its library: pip install '.[data]'") from error
    return datasets


def _undecoded() -> Any:
    """Pictures as the bytes that the file has: ours are the readers that open them."""
    return _library().Image(decode=False)


def _opened(stored: dict[str, Any] | None, beside: Path, name: str) -> Path | io.BytesIO:
    """The bytes that the row holds, or the file that it names: as it stands, or from the dataset's own place on."""
    if stored and stored.get("bytes"):
        return io.BytesIO(stored["bytes"])
    if not stored or not stored.get("path"):
        raise ValueError(f"{name} holds no picture")
    for path in (Path(stored["path"]), beside / stored["path"]):
        if path.is_file():
            return path
    raise ValueError(f"{name} names {stored['path']}, which is not there, nor from {beside} on")
