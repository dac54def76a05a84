"""How is a stage kept as its difference from another, whose file lies beside it? As `_changed` says.

Metadata: as `native` has it, but format "imagen-change"; base_file, the base's name; base (JSON), its fingerprint.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from ..._safetensors import write_safetensors
from ...fingerprint import KEY, Fingerprint
from ...unets import build_unet
from ...whole_files import whole
from ..plausible import check_schedule, check_settings, in_short
from ..stage_spec import StageSpec
from ..stored import Stored, stored_at
from ._base import Reader, Reading, check_version
from ._changed import BASE_FILE, Factors, Learned, base_beside, base_file_of, merged
from .native import entry, metadata_to_spec, spec_to_metadata

__all__ = ["Change", "ChangeReader", "Factors", "Learned", "read_change", "save_change"]

FORMAT = "imagen-change"
FORMAT_VERSION = 1
MOST_TIMES = 16  # as many tensors as a change has, its network may have at most


@dataclass(frozen=True, kw_only=True)
class Change:
    """A stage, seen from its base."""

    spec: StageSpec  # of the stage as it is merged
    base: str  # the base's file, in the same folder
    fingerprint: Fingerprint  # of the base
    learned: Learned


class ChangeReader(Reader):
    """What `imagen train inpaint` makes. Listed and inspected without its base, loaded with it."""

    name: ClassVar[str] = "change"
    title: ClassVar[str] = "an Imagen stage as a change of another"

    def matches(self, stored: Stored) -> bool:
        return is_change(stored)

    def files_beside(self, stored: Stored) -> list[Path]:
        return base_beside(stored)

    def read(self, stored: Stored) -> Reading:
        spec, base, known = _header(stored)
        weights = partial(merged, stored, stored.folder / base, known)
        return Reading(
            spec=spec, build=partial(build_unet, spec.unet_config), naming=f"change of {base}", weights=weights
        )


def is_change(stored: Stored) -> bool:
    """Whether a checkpoint is kept as a change."""
    return stored.metadata.get("format") == FORMAT


def save_change(path: str | os.PathLike[str], change: Change) -> None:
    """Write it to `path`, whole or not at all: what is large in int8, the rest in float16."""
    about = {"format": FORMAT, "format_version": str(FORMAT_VERSION), BASE_FILE: change.base}
    metadata = spec_to_metadata(change.spec) | about | {KEY: change.fingerprint.to_json()}
    with whole(Path(path)) as draft:
        write_safetensors(draft, change.learned.stored(), metadata)


def read_change(path: str | os.PathLike[str]) -> Change | None:
    """What a file keeps, in float32, its base unread; None for a checkpoint that is no change. Errors as `load_any`."""
    with stored_at(Path(path)) as stored:
        if not is_change(stored):
            return None
        spec, base, known = _header(stored)
        return Change(
            spec=spec,
            base=base,
            fingerprint=known,
            learned=Learned.of(stored),
        )


def _header(stored: Stored) -> tuple[StageSpec, str, Fingerprint]:
    """What a change's metadata says: of its stage, of its base's name, and of its base. ValueError naming the file."""
    check_version(stored, FORMAT_VERSION)
    try:
        spec = metadata_to_spec(stored.metadata)
        check_schedule(spec.schedule_config)
        check_settings(spec.unet_config, MOST_TIMES * len(stored.shapes))
        return spec, base_file_of(stored), Fingerprint.from_json(entry(stored.metadata, KEY), f"metadata {KEY!r}")
    except (ValueError, TypeError, ArithmeticError) as error:
        raise ValueError(f"{stored.path}: {in_short(error)}") from error
