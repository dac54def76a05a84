"""Which text encoders lie in a folder? Told by a folder's config.json or a file's header; no weight is read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from .._walk import beginning, find_models
from ..clip.names import towers_in
from .archives import SafetensorsArchive
from .byte_pairs import KIND as BYTE_PAIRS
from .t5_weights import is_encoder

FOLDER_KINDS = (
    "t5",
    "bert",
    "clip",
    "clip_text_model",
    "mt5",
    "umt5",
    "roberta",
    "xlm-roberta",
    "modernbert",
    "deberta-v2",
    "mpnet",
    "distilbert",
    BYTE_PAIRS,
)
_KIND = re.compile(rb'"model_type"\s*:\s*"([\w-]+)"')
_ARCHITECTURE = b"general.architecture"  # the first field of a .gguf, by convention


def find_text_encoders(folder: Path) -> Iterator[Path]:
    """Every encoder under `folder`, in order of name: Hugging Face folders, and single .safetensors and .gguf files.

    A damaged file is listed if it is called t5..., so that loading it says what is wrong.
    """
    return find_models(folder, _is_encoder_folder, _is_encoder_file)


def _is_encoder_folder(folder: Path) -> bool:
    kind = _KIND.search(beginning(folder / "config.json"))
    return kind is not None and kind[1].decode() in FOLDER_KINDS


def _is_encoder_file(file: Path) -> bool:
    if file.suffix == ".safetensors":
        try:
            archive = SafetensorsArchive(file)
            return (is_encoder(archive) or "text" in towers_in(archive.shapes)) and archive.unread is None
        except (ValueError, OSError):
            return "t5" in file.name.lower()
    if file.suffix == ".gguf":
        first = beginning(file, 1 << 12)
        after = first.partition(_ARCHITECTURE)[2][12:14]  # past the value's type and length
        return after == b"t5" or (_ARCHITECTURE not in first and "t5" in file.name.lower())
    return False
