"""What is a reader? One published format: which files are its own, what they are, and what their weights are called."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from ...unets import build_unet
from ..key_map import KeyMap, same_keys
from ..plausible import check_settings, in_short
from ..stage_spec import StageSpec
from ..stored import Stored
from ..weights import Weights


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a reader makes of a checkpoint, before a weight is read."""

    spec: Any  # what it is: a StageSpec where the reader's `kind` is "stage", a dataclass of its own for other kinds
    build: Callable[[], nn.Module]  # the network, freshly made; it is called under the meta device
    key_map: Callable[[nn.Module], KeyMap] = same_keys  # of that network; it may ask `weights.shapes`
    naming: str | None = None  # which of several namings the file uses, for `imagen inspect`
    # Opens what the network is filled from, where that is more than the checkpoint's own file.
    weights: Callable[[], AbstractContextManager[Weights]] | None = None

    def weights_of(self, stored: Stored) -> AbstractContextManager[Weights]:
        """What the network is filled from: the checkpoint's own weights, where nothing else is said."""
        return nullcontext(stored.weights) if self.weights is None else self.weights()


def stage_reading(
    stored: Stored, spec: StageSpec, key_map: Callable[[nn.Module], KeyMap] = same_keys, naming: str | None = None
) -> Reading:
    """Of a stage. ValueError naming a setting that no network of so many weights can have."""
    check_settings(spec.unet_config, len(stored.shapes))
    return Reading(spec=spec, build=partial(build_unet, spec.unet_config), key_map=key_map, naming=naming)


class Reader(ABC):
    """One format. A concrete subclass in a file of this folder is found by its `name`."""

    name: ClassVar[str]
    title: ClassVar[str]  # what people call it, with its article: "a DeepFloyd IF stage"
    kind: ClassVar[str] = "stage"  # what it is loaded as: one kind, one function that loads it
    loader: ClassVar[str] = "Imagen Load U-Net"  # the node that loads this kind
    trained_in_half: ClassVar[bool] = (
        False  # whether its authors ran it in fp16, so that a device with fast fp16 may too
    )

    @abstractmethod
    def matches(self, stored: Stored) -> bool:
        """Whether it is this reader's, told from keys, shapes, metadata and settings, never from a name on the disk.

        Of every file at most one reader may say so.
        """

    @abstractmethod
    def read(self, stored: Stored) -> Reading:
        """What a matching checkpoint is. ValueError, naming `stored.path` and the key or setting that is wrong."""

    @contextmanager
    def reading(self, stored: Stored) -> Iterator[None]:
        """What goes wrong inside, as a ValueError that says which file it was, and what to do."""
        try:
            yield
        except (ValueError, TypeError, LookupError, ArithmeticError) as error:
            what = self.title.partition(" ")[2]
            raise ValueError(
                f"{stored.path}: {in_short(error)}; it is damaged, or no {what}: download it again, or choose another"
            ) from error

    def files_beside(self, stored: Stored) -> list[Path]:
        """Other checkpoints that are there, from which a matching one takes weights."""
        return []

    def marks(self, folder: Path) -> bool:
        """Whether a folder's settings say that it is one of these, so that a list shows it whole, damaged or not."""
        return False


def check_version(stored: Stored, newest: int) -> None:
    """Raise ValueError for a file of this pack's own format that is younger than the pack."""
    version = stored.metadata.get("format_version", "")
    if not version.isdecimal() or int(version[:9]) > newest:
        raise ValueError(
            f"{stored.path} has format_version {version[:20]!r}, this pack reads {newest}: update the pack"
        )
