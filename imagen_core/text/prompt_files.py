"""Which prompts were encoded in earlier runs? One small .safetensors file each, in the user's cache folder.

A large encoder takes seconds to minutes a prompt; its encoding is about 1 MB. Files are written to a temporary name and
renamed, so that writers at once and a crash leave whole files. Each holds a checksum of all that is in it: one that cannot
be read, was changed by a failing disk, or is from before there were checksums, counts as absent and is removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ..places import home, place
from ..whole_files import sweep, whole
from .cache import Encoding

LIMIT_BYTES = 512 * 2**20  # about 400 prompts of T5-XXL at 77 tokens
_OFF = ("0", "off", "false", "no")


def cache_directory() -> Path | None:
    """Where encoded prompts are kept: IMAGEN_CACHE, or this system's place for caches; None if IMAGEN_CACHE is 0.

    None too for a user without a home folder.
    """
    wish = os.environ.get("IMAGEN_CACHE", "").strip()
    if wish.lower() in _OFF:
        return None
    if wish:
        return place(wish)
    variable, below = {
        "win32": ("LOCALAPPDATA", "AppData/Local"),
        "darwin": ("", "Library/Caches"),
    }.get(sys.platform, ("XDG_CACHE_HOME", ".cache"))
    named, own = os.environ.get(variable), home()
    base = place(named) if named else own / below if own else None
    return base / "imagen-nodes" / "prompts" if base else None


@dataclass(frozen=True, kw_only=True)
class PromptKey:
    """All that an encoding depends on. encoder: its files' fingerprint. precision: what it computes in, and where."""

    text: str
    encoder: str
    precision: str
    max_length: int
    pad_to: int | None

    def digest(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def checksum(embeds: torch.Tensor, described: dict[str, str]) -> str:
    """Of an encoding (l d) and of all that its file says about it."""
    shape = json.dumps([list(embeds.shape), described], sort_keys=True).encode()
    return hashlib.sha256(shape + embeds.numpy().tobytes()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class PromptFile:
    """One entry, for listing: `used` in seconds since the epoch."""

    path: Path
    text: str
    pad_to: str
    bytes: int
    used: float


class PromptFiles:
    """Encodings in `directory`, at most `limit_bytes`: beyond it the least recently used go. Never raises for a file."""

    def __init__(self, directory: str | os.PathLike[str], limit_bytes: int = LIMIT_BYTES) -> None:
        self.directory, self.limit_bytes = Path(directory), limit_bytes

    def get(self, key: PromptKey) -> Encoding | None:
        """The encoding, now the most recently used; None if there is none, or none that can be read."""
        path = self._path(key)
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt", device="cpu") as archive:
                stated = archive.metadata() or {}
                embeds, tokens = archive.get_tensor("embeds").clone(), int(stated["tokens"])
            if stated.get("key") != key.digest() or embeds.ndim != 2 or embeds.dtype != torch.float32:
                raise ValueError("another prompt's file")
            if stated.pop("checksum", None) != checksum(embeds, stated):
                raise ValueError("not what was written")
            if not 1 <= tokens <= len(embeds) <= max(key.pad_to or 0, key.max_length) or not embeds.isfinite().all():
                raise ValueError("not an encoding of this length")
        except Exception:  # damaged in whatever way: encode anew
            self._remove(path)
            return None
        with contextlib.suppress(OSError):  # the folder may be read-only
            os.utime(path)
        return Encoding(embeds=embeds, tokens=tokens)

    def put(self, key: PromptKey, encoding: Encoding) -> None:
        """Keep an encoding, if the disk takes it."""
        described = {"tokens": str(encoding.tokens), "key": key.digest(), "text": key.text, "pad_to": str(key.pad_to)}
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            readable = {name: text.encode("utf-8", "replace").decode("utf-8") for name, text in described.items()}
            embeds = encoding.embeds.contiguous()
            with whole(self._path(key)) as draft:
                save_file({"embeds": embeds}, draft, metadata={**readable, "checksum": checksum(embeds, readable)})
        except Exception:  # a full disk, no permission: the prompt is encoded again next time
            return
        self._trim()

    def entries(self) -> list[PromptFile]:
        """What is kept, the most recently used first."""
        found = []
        for path in self._files():
            with contextlib.suppress(Exception):  # gone meanwhile, or damaged
                with safe_open(path, framework="pt", device="cpu") as archive:
                    stated = archive.metadata() or {}
                status = path.stat()
                found.append(
                    PromptFile(
                        path=path,
                        text=stated.get("text", ""),
                        pad_to=stated.get("pad_to", ""),
                        bytes=status.st_size,
                        used=status.st_mtime,
                    )
                )
        return sorted(found, key=lambda entry: entry.used, reverse=True)

    def clear(self) -> int:
        """Remove every entry, damaged ones and what a crash left behind too; returns how many went."""
        return sum(self._remove(path) for path in self._files()) + sweep(self.directory)

    def _path(self, key: PromptKey) -> Path:
        return self.directory / f"{key.digest()}.safetensors"

    def _files(self) -> list[Path]:
        return [path for path in self.directory.glob("*.safetensors") if len(path.stem) == 64]

    def _trim(self) -> None:
        sizes = []
        for path in self._files():
            with contextlib.suppress(OSError):  # another process removed it
                status = path.stat()
                sizes.append((status.st_mtime, status.st_size, path))
        excess = sum(size for _, size, _ in sizes) - self.limit_bytes
        for _, size, path in sorted(sizes):
            if excess <= 0:
                return
            excess -= size if self._remove(path) else 0

    @staticmethod
    def _remove(path: Path) -> bool:
        try:
            path.unlink()
        except OSError:
            return False
        return True
