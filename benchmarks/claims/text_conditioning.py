"""Does it matter how the text reaches the network? Cross-attention, attention pooling, mean pooling (Imagen, section 4.4).

python -m benchmarks.claims text_conditioning
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import ClassVar

from imagen_core.text.loading import load_text_encoder
from imagen_core.unets.u_vit import UViT
from imagen_train.options import default_models_dir

from ._base import Claim, Row, each_seed, grouped, markdown
from ._drawing_runs import Base, MeanPooled, Pooled, Read, add_run_options, exam_of, network_of
from ._plot import Panel, panels_svg
from ._training import in_turns

WAYS: dict[str, type[UViT]] = {"cross-attention": UViT, "attention pooling": Pooled, "mean pooling": MeanPooled}
ASPECTS = ("thing_named", "color_named", "backdrop_named")


class TextConditioning(Claim):
    name: ClassVar[str] = "text_conditioning"
    about: ClassVar[str] = "cross-attention over attention pooling over mean pooling"
    key: ClassVar[tuple[str, ...]] = ("way", "seed")

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        add_run_options(parser)

    def measured(self, options: argparse.Namespace, done: Sequence[Row]) -> Iterator[Row]:
        read = Read(exam_of(options), load_text_encoder(default_models_dir() / "things_text_encoder"))
        for seed in options.seeds:
            bases = {
                way: Base(read, network_of(read.dim, options.width, seed, kind), seconds=options.seconds, seed=seed)
                for way, kind in WAYS.items()
                if not self.is_done(done, way=way, seed=seed)
            }
            in_turns({way: base.run for way, base in bases.items()})
            for way, base in bases.items():
                yield {"way": way, "seed": seed} | base.row()

    def table(self, rows: Sequence[Row]) -> str:
        columns = ("text enters by", "parameters", "steps", "loss", "thing", "colour", "backdrop")
        return markdown(
            columns,
            [
                (
                    way,
                    f"{some[0]['parameters'] / 1e6:.2f} M",
                    each_seed(some, "steps", 0),
                    each_seed(some, "loss_named", 4),
                    *(each_seed(some, aspect, 2) for aspect in ASPECTS),
                )
                for (way,), some in grouped(rows, "way").items()
            ],
        )

    def plot(self, rows: Sequence[Row]) -> str:
        ways = [way for way in WAYS if any(row["way"] == way for row in rows)]
        by_seed = grouped(rows, "seed")

        def lines(name: str) -> dict[str, list[tuple[float, float]]]:
            return {
                f"seed {s}": [(ways.index(row["way"]), row[name]) for row in some] for (s,), some in by_seed.items()
            }

        panels = [("loss_named", "loss of unseen pictures"), ("thing_named", "share of things drawn right")]
        return panels_svg([Panel(up=up, across="", lines=lines(name), at=ways, joined=False) for name, up in panels])
