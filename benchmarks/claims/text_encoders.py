"""Does a better text encoder help more than a larger U-Net? And which encoder helps? (Imagen, section 4.4, figure 4.)

python -m benchmarks.claims text_encoders
python -m benchmarks.claims text_encoders --encoder CLIP=FOLDER      a folder or file of any encoder that the pack reads
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from imagen_core.text.loading import load_text_encoder
from imagen_core.text.own_network import Batch
from imagen_core.text.t5 import EncoderConfig, T5TextEncoder
from imagen_train.options import default_models_dir

from ._base import Claim, Row, each_seed, grouped, markdown, mean
from ._drawing_runs import Base, Read, add_run_options, exam_of, network_of
from ._plot import Panel, panels_svg
from ._training import in_turns

TINY_T5 = Path(__file__).resolve().parents[2] / "tests" / "tiny_t5"

SIZES = {"x 1/2": 0.7, "x 1": 1.0, "x 2": 1.45}  # factors on the width, for such numbers of parameters
ASKED = {"named": "names that training said", "synonym": "synonyms that it never said"}


class WordTable:
    """An encoder that knows words apart and nothing about them: each token id is one random vector, always the same."""

    def __init__(self, config: EncoderConfig) -> None:
        self.config, self.device, self.dtype = config, torch.device("cpu"), torch.float32
        random = torch.Generator().manual_seed(0)
        self.table = torch.randn(config.vocab_size, config.d_model, generator=random)

    def __call__(self, batches: Sequence[Batch]) -> list[Tensor]:
        return [self.table[ids] for ids, _ in batches]


def _minilm() -> T5TextEncoder:
    return load_text_encoder(default_models_dir() / "things_text_encoder")


def _lower_layers(count: int = 2) -> T5TextEncoder:
    encoder = _minilm()
    encoder.network.config = dataclasses.replace(encoder.network.config, num_layers=count)
    return encoder


def _words_only() -> T5TextEncoder:
    encoder = _minilm()
    return T5TextEncoder(WordTable(encoder.network.config), encoder.tokenizer)


ENCODERS: dict[str, Callable[[], T5TextEncoder]] = {
    "MiniLM (a BERT), 6 layers": _minilm,
    "its lower 2 layers": _lower_layers,
    "tiny T5": lambda: load_text_encoder(TINY_T5),
    "words only": _words_only,
}
BEST, LEAST = "MiniLM (a BERT), 6 layers", "words only"


def named_encoder(text: str) -> tuple[str, Path]:
    """NAME=PLACE; ValueError, which argparse shows, without both."""
    name, _, place = text.partition("=")
    if not name or not place:
        raise argparse.ArgumentTypeError(f"{text!r} names no encoder: write NAME=FOLDER")
    return name, Path(place)


class TextEncoders(Claim):
    name: ClassVar[str] = "text_encoders"
    about: ClassVar[str] = "a better text encoder helps more than a larger U-Net"
    key: ClassVar[tuple[str, ...]] = ("encoder", "size", "seed")

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        add_run_options(parser)
        parser.add_argument(
            "--encoder", type=named_encoder, action="append", default=[], metavar="NAME=FOLDER", help="measure this too"
        )

    def measured(self, options: argparse.Namespace, done: Sequence[Row]) -> Iterator[Row]:
        exam = exam_of(options)
        reads = {name: Read(exam, opened()) for name, opened in self._encoders(options).items()}
        for seed in options.seeds:
            bases = {}
            for name, size in self._cells(reads):
                if not self.is_done(done, encoder=name, size=size, seed=seed):
                    network = network_of(reads[name].dim, 32 * round(options.width * SIZES[size] / 32), seed)
                    bases[name, size] = Base(reads[name], network, seconds=options.seconds, seed=seed)
            in_turns({f"{name} {size}": base.run for (name, size), base in bases.items()})
            for (name, size), base in bases.items():
                yield {"encoder": name, "size": size, "seed": seed} | base.row()

    def _encoders(self, options: argparse.Namespace) -> dict[str, Callable[[], T5TextEncoder]]:
        return ENCODERS | {name: (lambda place=place: load_text_encoder(place)) for name, place in options.encoder}

    def _cells(self, names: Iterable[str]) -> list[tuple[str, str]]:
        """Every encoder with the U-Net as it is; the best and the least with the others."""
        return [(name, "x 1") for name in names] + [(name, size) for size in ("x 1/2", "x 2") for name in (BEST, LEAST)]

    def table(self, rows: Sequence[Row]) -> str:
        columns = (
            "text encoder",
            "U-Net",
            "parameters",
            "steps",
            *(f"{a}: {b}" for b in ASKED for a in ("loss", "thing")),
        )
        return markdown(
            columns,
            [
                (
                    encoder,
                    size,
                    f"{some[0]['parameters'] / 1e6:.2f} M",
                    each_seed(some, "steps", 0),
                    *(each_seed(some, f"{a}_{b}", d) for b in ASKED for a, d in (("loss", 4), ("thing", 2))),
                )
                for (encoder, size), some in grouped(rows, "encoder", "size").items()
            ],
        )

    def plot(self, rows: Sequence[Row]) -> str:
        sizes, cells = list(SIZES), grouped(rows, "encoder", "size")

        def lines(figure: str) -> dict[str, list[tuple[float, float]]]:
            found: dict[str, list[tuple[float, float]]] = {}
            for encoder, size in sorted(cells, key=lambda cell: sizes.index(cell[1])):
                found.setdefault(encoder, []).append((sizes.index(size), mean(cells[encoder, size], figure)))
            return found

        return panels_svg(
            [
                Panel(
                    up=f"things drawn right: {said}", across="U-Net, parameters", lines=lines(f"thing_{name}"), at=sizes
                )
                for name, said in ASKED.items()
            ]
        )
