"""Does the Efficient U-Net learn the same in less time? (Imagen, section 2.5, appendix B.1.)

Both enlarge 16 px drawings to 64 px; the plain one is ADM's, which works at the full resolution too. "order only" halves
before a level's blocks and doubles after them, blocks spread evenly; "efficient" also moves blocks to the coarse levels.

python -m benchmarks.claims efficient_unet
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import ClassVar

import torch
from torch import Tensor, nn

from imagen_core.conditioning import Signals
from imagen_core.losses import diffusion_loss, draw_times
from imagen_core.schedules.cosine import CosineSchedule
from imagen_core.super_resolution import resize
from imagen_core.unets.adm import ADM, ADMConfig
from imagen_core.unets.efficient_unet import EfficientUNet, EfficientUNetConfig
from imagen_train.tasks import shrink

from ._base import Claim, Row, each_seed, grouped, markdown, mean
from ._plot import Panel, panels_svg
from ._things import World
from ._training import Run, in_turns, parameters

SCHEDULE, SIDE, WATCH = CosineSchedule(logsnr_min=-12.0, logsnr_max=12.0), 64, (0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0)


def plain(width: int) -> nn.Module:
    """ADM's U-Net: blocks spread evenly, resampled by blocks after (down) and before (up) them, skips as they are."""
    levels = 3
    return ADM(
        ADMConfig(
            in_channels=6,
            out_channels=3,
            channels=(width, 2 * width, 4 * width),
            num_res_blocks=(2,) * levels,
            attention=(False,) * levels,
            middle_attention=False,
            norm_groups=None,
        )
    )


def efficient(width: int, blocks: tuple[int, ...] = (1, 2, 5)) -> nn.Module:
    """Halved before a level's blocks, doubled after them, most blocks at the coarsest level, skips by 1/sqrt(2)."""
    return EfficientUNet(
        EfficientUNetConfig(
            in_channels=6,
            out_channels=3,
            channels=(width, 2 * width, 4 * width),
            num_res_blocks=blocks,
            strides=(2, 2, 2),
            self_attention=(False,) * 3,
            text_cross_attention=(False,) * 3,
            text_embed_dim=None,
            low_res_conditioning=False,
        )
    )


NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "plain": plain,
    "order only": lambda width: efficient(4 * round(0.34 * width), (2, 2, 2)),  # wider, for as many parameters
    "efficient": efficient,
}


@dataclass(frozen=True)
class Enlarging:
    """Pictures to learn from and to be judged by: (n 3 64 64) uint8 and float."""

    learned: Tensor
    asked: Tensor
    batch: int

    def loss(self, network: nn.Module, random: torch.Generator) -> Tensor:
        rows = torch.randint(len(self.learned), (self.batch,), generator=random)
        x_0 = self.learned[rows].float().div_(127.5).sub_(1.0)
        return self._error(
            network, x_0, draw_times(self.batch, random, power=1.0), torch.randn(x_0.shape, generator=random)
        )

    @torch.inference_mode()
    def judged(self, network: nn.Module) -> float:
        random = torch.Generator().manual_seed(5)
        noise, times = torch.randn(self.asked.shape, generator=random), draw_times(len(self.asked), random, power=1.0)
        return self._error(network, self.asked, times, noise).item()

    def _error(self, network: nn.Module, x_0: Tensor, times: Tensor, noise: Tensor) -> Tensor:
        """The loss of v, told the small picture without noise."""
        low_res = resize(shrink(x_0), tuple(x_0.shape[-2:]))
        return diffusion_loss(
            lambda x_t, time: network(torch.cat([x_t, low_res], dim=1), time, Signals()),
            x_0,
            schedule=SCHEDULE,
            prediction_type="v",
            times=times,
            noise=noise,
        )


def call_seconds(task: Enlarging, networks: Mapping[str, nn.Module], repetitions: int) -> dict[str, float]:
    """CPU seconds of a call that samples one batch: medians of calls taken in turns."""
    taken: dict[str, list[float]] = {name: [] for name in networks}
    for turn in range(repetitions + 1):
        for name, network in networks.items():
            began = time.process_time()
            with torch.inference_mode():
                task.loss(network, torch.Generator().manual_seed(turn))
            taken[name].append(time.process_time() - began)
    return {name: median(each[1:]) for name, each in taken.items()}


def run_row(run: Run) -> Row:
    return {
        "parameters": parameters(run.network),
        "training": round(run.spent / run.steps, 4),
        "steps": run.steps,
        "seconds": round(run.spent, 1),
        "loss": run.curve[-1][2],
        "curve": run.curve,
    }


class EfficientUNetClaim(Claim):
    name: ClassVar[str] = "efficient_unet"
    about: ClassVar[str] = "the same loss in fewer seconds, 2 to 3 times the steps a second"
    key: ClassVar[tuple[str, ...]] = ("network", "seed")

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add(
            "--seconds",
            type=float,
            default=240.0,
            help="CPU seconds that each network is trained (default: %(default)s)",
        )
        add("--seeds", type=int, nargs="+", default=[0, 1], help="each is one run of everything (default: 0 1)")
        add("--width", type=int, default=32, help="channels of the finest level (default: %(default)s)")
        add("--batch", type=int, default=16, help="pictures a step (default: %(default)s)")
        add("--pictures", type=int, default=2000, help="different ones to learn from (default: %(default)s)")
        add("--repetitions", type=int, default=5, help="sampling calls that are timed (default: %(default)s)")

    def measured(self, options: argparse.Namespace, done: Sequence[Row]) -> Iterator[Row]:
        world = World(side=SIDE)
        learned = torch.from_numpy(world.painted(world.scenes(options.pictures, 1))).permute(0, 3, 1, 2)
        task = Enlarging(learned, world.pictures(world.scenes(32, 2)), options.batch)
        for seed in options.seeds:
            names = [name for name in NETWORKS if not self.is_done(done, network=name, seed=seed)]
            runs = {}
            for name in names:
                torch.manual_seed(seed)
                runs[name] = Run(
                    NETWORKS[name](options.width),
                    task.loss,
                    seconds=options.seconds,
                    seed=seed,
                    bf16=False,
                    watched=task.judged,
                    watch_at=WATCH,
                )
            sampling = call_seconds(task, {name: run.average for name, run in runs.items()}, options.repetitions)
            in_turns(runs)
            for name, run in runs.items():
                yield {"network": name, "seed": seed, "sampling": round(sampling[name], 4)} | run_row(run)

    def table(self, rows: Sequence[Row]) -> str:
        slowest = {name: mean(grouped(rows, "network")["plain",], name) for name in ("training", "sampling")}
        return markdown(
            ("U-Net", "parameters", "training step, CPU s", "sampling call, CPU s", "steps", "loss at the end"),
            [
                (
                    name,
                    f"{some[0]['parameters'] / 1e6:.2f} M",
                    *(f"{mean(some, what):.3f} ({slowest[what] / mean(some, what):.1f}x)" for what in slowest),
                    each_seed(some, "steps", 0),
                    each_seed(some, "loss", 5),
                )
                for (name,), some in grouped(rows, "network").items()
            ],
        )

    def plot(self, rows: Sequence[Row]) -> str:
        lines = {f"{row['network']}, seed {row['seed']}": row["curve"] for row in rows}
        by = lambda place: {name: [(point[place], point[2]) for point in curve] for name, curve in lines.items()}
        up = "loss of unseen pictures"
        return panels_svg([Panel(up=up, across="CPU seconds", lines=by(0)), Panel(up=up, across="steps", lines=by(1))])
