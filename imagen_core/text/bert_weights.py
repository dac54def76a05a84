"""Which weights of a file are a BERT encoder's, and are they all there? Names are transformers', whatever the prefix."""

from __future__ import annotations

from pathlib import Path

from .archives import Archive, open_archive
from .bert_config import BertConfig, expected_bert_shapes
from .t5_weights import WeightsOnDisk, check_present, checked_weights

_MARK = "encoder.layer.0.attention.self.query.weight"  # what every BERT file has; may follow a prefix


def bert_names_in(archive: Archive) -> dict[str, str]:
    """transformers' name to the file's own, for every tensor under the prefix that the file uses ("bert.", or none)."""
    prefix = next((key.removesuffix(_MARK) for key in archive.shapes if key.endswith(_MARK)), "")
    return {key.removeprefix(prefix): key for key in archive.shapes if key.startswith(prefix)}


def open_bert_weights(files: list[Path], config: BertConfig) -> WeightsOnDisk:
    """Open the encoder's files and check every name, shape and form; only headers are read.

    Raises FileNotFoundError or ValueError naming the file and key.
    """
    archives = [open_archive(file) for file in files]
    places = {ours: (archive, name) for archive in archives for ours, name in bert_names_in(archive).items()}
    expected = expected_bert_shapes(config)
    check_present(expected, places, files[0])
    return checked_weights(expected, places)
