"""Which files make up the weights of one model: one, or shards with or without an index, in which precisions?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ._settings_file import read_settings

SHARD = re.compile(r"^(?P<name>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<rest>\..+)$")


@dataclass(frozen=True)
class Variant:
    """One set of weights in a folder."""

    infix: str  # "" or "fp16"
    files: list[Path]  # in order; whether all are there is for `all_there` to say


def weight_sets(folder: Path, name: str, suffix: str) -> list[Variant]:
    """Every set of weights called `name` with `suffix` in `folder`: whole, sharded with an index, or sharded without.

    Files are called name[.infix]suffix, or name[.infix]-00001-of-0000n[.infix]suffix with an index name + suffix +
    .index[.infix].json. Raises ValueError for an index that is none.
    """
    sets: dict[str, list[Path]] = {}
    for file in sorted(folder.glob(f"{name}*{suffix}")):
        middle = file.name[len(name) : -len(suffix)]
        shard = SHARD.match(file.name)
        if shard is not None:
            infix = _infix(shard["name"][len(name) :] or shard["rest"][: -len(suffix)])
            if infix is not None and infix not in sets:
                sets[infix] = _siblings(file, shard)
        elif _infix(middle) is not None:
            sets[_infix(middle)] = [file]
    for index in sorted(folder.glob(f"{name}{suffix}.index*.json")):
        infix = _infix(index.name[len(f"{name}{suffix}.index") : -len(".json")])
        if infix is not None and not (infix in sets and len(sets[infix]) == 1):
            sets[infix] = _indexed(index)
    return [Variant(infix, files) for infix, files in sorted(sets.items())]


def _infix(text: str) -> str | None:
    """ ".fp16" -> "fp16", "" -> "", anything else is part of another name."""
    if not text:
        return ""
    return text[1:] if re.fullmatch(r"\.\w+", text) else None


def is_shard(file: Path) -> bool:
    return SHARD.match(file.name) is not None


def shards_of(file: Path) -> list[Path]:
    """`file` alone, or all shards of the set that its name says it is one of. ValueError naming a missing shard."""
    shard = SHARD.match(file.name)
    return all_there(_siblings(file, shard)) if shard is not None else [file]


def _siblings(file: Path, shard: re.Match[str]) -> list[Path]:
    """All shards of the set that `file` is one of."""
    count = int(shard["count"])
    return [
        file.with_name(f"{shard['name']}-{number:05d}-of-{count:05d}{shard['rest']}") for number in range(1, count + 1)
    ]


def _indexed(index: Path) -> list[Path]:
    try:
        names = sorted(set(read_settings(index)["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{index} is no index of weights ({error}): download it again") from error
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"{index} is no index of weights, for not all of its files have names: download it again")
    outside = [name for name in names if Path(name).name != name]
    if outside:
        raise ValueError(f"{index} names {outside[0]!r}, which is not in its folder: download it again")
    return [index.with_name(name) for name in names]


def all_there(files: list[Path]) -> list[Path]:
    """The files themselves. ValueError naming the first that is missing."""
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise ValueError(
            f"{missing[0].parent} lacks {len(missing)} of {len(files)} files of its weights, first {missing[0].name}: "
            "download it"
        )
    return files
