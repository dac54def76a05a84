"""Which way to 256 px draws best after as many CPU seconds: one stage in pixels, a cascade, or latents?

JiT (arXiv 2511.13720) says that a transformer on large patches needs neither of the other two, latent diffusion (2112.10752)
that pixels waste compute, Imagen (2205.11487) that a cascade does not need latents. The same transformer over 64 positions
draws in all three, from scratch; what a cascade and latents need besides is paid out of the same seconds.

python -m benchmarks.claims spaces

Shapes: b pictures, n of a set, c channels of a latent, l tokens.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from imagen_core.autoencoders.tiny import TinyAutoencoder
from imagen_core.conditioning import Signals, TextEmbeds
from imagen_core.denoiser import Denoiser
from imagen_core.draw import Draw
from imagen_core.guidance.classifier_free import ClassifierFreeGuidance
from imagen_core.losses import diffusion_loss, draw_times
from imagen_core.noise import BatchNoise
from imagen_core.predictor import Predictor
from imagen_core.samplers.dpmpp_2m import DPMPP2M
from imagen_core.sampling import super_resolve
from imagen_core.schedules.cosine import CosineSchedule
from imagen_core.stage import Stage
from imagen_core.super_resolution import resize
from imagen_core.text.loading import load_text_encoder
from imagen_core.thresholding import Thresholding
from imagen_core.thresholding.none import NoThresholding
from imagen_core.thresholding.static import StaticThresholding
from imagen_core.unets.efficient_unet import EfficientUNet, EfficientUNetConfig
from imagen_core.unets.u_vit import UViT, UViTConfig
from imagen_train.data import drawings_folder
from imagen_train.options import default_models_dir
from imagen_train.plans import StagePlan
from imagen_train.stickers.vectors import VectorLibrary, open_vectors
from imagen_train.tasks import shrink, stage_spec

from ._base import Claim, Row, each_seed, grouped, markdown
from ._plot import Panel, panels_svg
from ._things import NAMED, Judge, Texts, World
from ._training import Run, in_turns, parameters

SIDE, SMALL, CHANNELS = 256, 64, 4
BATCH, ENLARGED, CROP, DROPPED, GUIDANCE, STEPS = 32, 16, 64, 0.1, 2.0, 12
WAYS = ("one stage", "cascade", "latents")
SHARE = 0.6  # of the seconds, for the part that reads text; the rest is for what makes it 256 px


def schedule_of(side: int) -> CosineSchedule:
    """As noisy to the eye at every size (simple diffusion, arXiv 2301.11093, section 3.1); at 64 px as the shipped base."""
    return CosineSchedule(shift=-1.0 + 2.0 * float(np.log(SMALL / side)), logsnr_min=-12.0, logsnr_max=12.0)


LATENT_SCHEDULE = CosineSchedule(shift=0.0, logsnr_min=-12.0, logsnr_max=12.0)


def transformer(side: int, channels: int, text_dim: int, width: int, seed: int) -> UViT:
    """64 positions whatever the side; what is finer than a position is drawn by convolutions."""
    torch.manual_seed(seed)
    patch = side // 16
    fine = {"fine_channels": 24, "fine_blocks": 1} if patch >= 4 else {}
    finest = {"finest_channels": 16, "finest_blocks": 1} if patch >= 16 else {}
    return UViT(
        UViTConfig(
            **{"in_channels": channels, "out_channels": channels, "patch_size": patch, "channels": 48},
            **{"num_res_blocks": 1, "width": width, "depth": 3, "per_head_channels": 32, "mlp_ratio": 3.0},
            **{"time_embed_dim": 128, "text_embed_dim": text_dim, "pooling_queries": 1, **fine, **finest},
        )
    )


def enlarger(seed: int) -> EfficientUNet:
    """As sr256, half as wide."""
    torch.manual_seed(seed)
    return EfficientUNet(
        EfficientUNetConfig(
            **{"patch_size": 4, "channels": (48, 48), "num_res_blocks": (1, 1), "strides": (1, 2)},
            **{"self_attention": (False, False), "text_cross_attention": (False, False), "text_embed_dim": None},
            **{"predict_residual": True, "residual_smoothing": 0.02, "stem_skip": True},
        )
    )


@dataclass(frozen=True)
class LargeWorld(World):
    """The same things, drawn from their vectors at any side."""

    side: int = SIDE

    @cached_property
    def library(self) -> VectorLibrary:
        return open_vectors(drawings_folder() / "packages", side=self.side)


class Exam:
    """Pictures to learn from at both sizes, and what is asked for."""

    def __init__(self, things: int, pictures: int, asked: int) -> None:
        large, small = LargeWorld(things), World(things, SMALL)
        learned, scenes = large.scenes(pictures, 1), large.scenes(asked, 2)
        self.large = torch.from_numpy(large.painted(learned)).permute(0, 3, 1, 2)  # n 3 256 256
        self.small = shrink(_floats(self.large))  # n 3 64 64
        self.truth, self.judge = large.pictures(scenes), Judge(small, scenes)
        encoder = load_text_encoder(default_models_dir() / "things_text_encoder")
        self.dim, self.texts = encoder.embed_dim, Texts(encoder, large.captions(learned, NAMED))
        self.asked = Texts(encoder, large.captions(scenes, NAMED))


def _floats(pixels: Tensor) -> Tensor:
    """(b 3 h w) uint8 -> float32 in [-1, 1]."""
    return pixels.float().div_(127.5).sub_(1.0)


def error(
    network: nn.Module, x_0: Tensor, told: Signals, schedule: CosineSchedule, power: float, random: torch.Generator
) -> Tensor:
    """The loss of x_0 (b c h w) at times u^power, see `StagePlan.time_power`."""
    return diffusion_loss(
        lambda x_t, time: network(x_t, time, told),
        x_0,
        schedule=schedule,
        prediction_type="x_0",
        times=draw_times(len(x_0), random, power=power),
        noise=torch.randn(x_0.shape, generator=random),
    )


def drawing_loss(exam: Exam, pictures: Callable[[list[int]], Tensor], schedule: CosineSchedule) -> Callable:
    """Of a network that reads captions; pictures: those of these numbers, in the space that it draws in."""

    def loss(network: UViT, random: torch.Generator) -> Tensor:
        rows = torch.randint(len(exam.large), (BATCH,), generator=random).tolist()
        told = network.encode_text(exam.texts.of(rows, torch.rand(BATCH, generator=random) < DROPPED))
        x_0 = pictures(rows)
        return error(network, x_0, told, schedule, 0.75, random)

    return loss


def enlarging_loss(exam: Exam) -> Callable:
    """Of crops, told what they are four times smaller."""

    def loss(network: EfficientUNet, random: torch.Generator) -> Tensor:
        rows = torch.randint(len(exam.large), (ENLARGED,), generator=random).tolist()
        y, x = (4 * int(n) for n in torch.randint((SIDE - CROP) // 4 + 1, (2,), generator=random))
        x_0 = _floats(exam.large[rows, :, y : y + CROP, x : x + CROP])
        told = Signals(pixels=resize(shrink(x_0), (CROP, CROP)), aug_level=torch.zeros(ENLARGED))
        return error(network, x_0, told, schedule_of(SMALL), 1.0, random)

    return loss


def coding_loss(exam: Exam) -> Callable:
    """Of crops into latents and back, latents kept small."""

    def loss(network: TinyAutoencoder, random: torch.Generator) -> Tensor:
        rows = torch.randint(len(exam.large), (ENLARGED,), generator=random).tolist()
        y, x = torch.randint(SIDE - CROP + 1, (2,), generator=random).tolist()
        x_0 = _floats(exam.large[rows, :, y : y + CROP, x : x + CROP])
        z = network.encode(x_0)
        return F.l1_loss(network.decode(z), x_0) + 1e-3 * z.square().mean()

    return loss


@torch.inference_mode()
def drawn(
    network: UViT, schedule: CosineSchedule, text: TextEmbeds, shape: tuple[int, ...], thresholding: Thresholding
) -> Tensor:
    """What a network draws of the prompts from their numbers as seeds: (b *shape)."""
    count = len(text.mask)
    null = network.encode_text(TextEmbeds.null(count, text.embeds.shape[2]))
    predictor = Predictor(network=network, schedule=schedule, prediction_type="x_0")
    denoise = Denoiser(
        predictor,
        {"cond": network.encode_text(text), "null": null},
        guidance=ClassifierFreeGuidance(scale=GUIDANCE),
        thresholding=thresholding,
    )
    noise, sampler = BatchNoise(range(count)), DPMPP2M()
    draw = lambda: noise(shape, "cpu")
    return sampler.sample(denoise, draw(), sampler.times(schedule, STEPS), noise=draw)


class OneStage:
    """256 px at once."""

    def __init__(self, exam: Exam, options: argparse.Namespace, seed: int) -> None:
        self.exam, self.schedule = exam, schedule_of(SIDE)
        loss = drawing_loss(exam, lambda rows: _floats(exam.large[rows]), self.schedule)
        network = transformer(SIDE, 3, exam.dim, options.width, seed)
        self.run = Run(network, loss, seconds=options.seconds, seed=seed)
        self.runs = [self.run]

    def rest(self) -> None:
        """Nothing is trained after it."""

    def pictures(self, text: TextEmbeds) -> Tensor:
        return drawn(self.run.average, self.schedule, text, (3, SIDE, SIDE), StaticThresholding())

    def through(self, truth: Tensor) -> Tensor:
        """What is left of true pictures where nothing has to be drawn: all."""
        return truth


class Cascade:
    """64 px, and a network that enlarges."""

    def __init__(self, exam: Exam, options: argparse.Namespace, seed: int) -> None:
        self.exam, self.schedule = exam, schedule_of(SMALL)
        loss = drawing_loss(exam, lambda rows: exam.small[rows], self.schedule)
        network = transformer(SMALL, 3, exam.dim, options.width, seed)
        self.run = Run(network, loss, seconds=SHARE * options.seconds, seed=seed)
        self.larger = Run(enlarger(seed), enlarging_loss(exam), seconds=(1 - SHARE) * options.seconds, seed=seed)
        self.runs = [self.run, self.larger]

    def rest(self) -> None:
        """Both learn side by side."""

    def pictures(self, text: TextEmbeds) -> Tensor:
        small = drawn(self.run.average, self.schedule, text, (3, SMALL, SMALL), StaticThresholding())
        return self._enlarged(small)

    def through(self, truth: Tensor) -> Tensor:
        return self._enlarged(shrink(truth))

    def _enlarged(self, small: Tensor) -> Tensor:
        network = self.larger.average
        plan = StagePlan(stage="sr256", pictures="", unet=network.config, crop=CROP, schedule=schedule_of(SMALL))
        stage = Stage(unet=network, schedule=plan.schedule, spec=stage_spec(plan))
        return super_resolve(stage, small, None, Draw(seeds=range(len(small)), steps=4))


class Latents:
    """A tiny autoencoder (TAESD's network, a quarter as wide), and a network that draws its latents."""

    def __init__(self, exam: Exam, options: argparse.Namespace, seed: int) -> None:
        self.exam, self.options, self.seed = exam, options, seed
        torch.manual_seed(seed)
        coder = TinyAutoencoder(CHANNELS, 16)
        self.coder = Run(coder, coding_loss(exam), seconds=(1 - SHARE) * options.seconds, seed=seed)
        self.runs: list[Run] = [self.coder]

    def rest(self) -> None:
        """The network that draws them learns when the latents are what they are."""
        with torch.inference_mode():
            parts = [self.coder.average.encode(_floats(part)) for part in self.exam.large.split(32)]
        z = torch.cat(parts).clone()
        self.scale = 1.0 / z.std().item()
        latents = z * self.scale
        network = transformer(SIDE // 8, CHANNELS, self.exam.dim, self.options.width, self.seed)
        loss = drawing_loss(self.exam, lambda rows: latents[rows], LATENT_SCHEDULE)
        self.run = Run(network, loss, seconds=SHARE * self.options.seconds, seed=self.seed)
        self.runs.append(self.run)
        in_turns({"latents": self.run})

    def pictures(self, text: TextEmbeds) -> Tensor:
        shape = (CHANNELS, SIDE // 8, SIDE // 8)
        return self._decoded(drawn(self.run.average, LATENT_SCHEDULE, text, shape, NoThresholding()))

    @torch.inference_mode()
    def through(self, truth: Tensor) -> Tensor:
        return self._decoded(self.coder.average.encode(truth) * self.scale)

    @torch.inference_mode()
    def _decoded(self, latents: Tensor) -> Tensor:
        return self.coder.average.decode(latents / self.scale)


KINDS = dict(zip(WAYS, (OneStage, Cascade, Latents), strict=True))


def root_mean_square(pictures: Tensor, truth: Tensor) -> float:
    return (pictures - truth).square().mean((1, 2, 3)).sqrt().mean().item()


def steepness(pictures: Tensor) -> float:
    """Mean absolute difference of neighbours: how much of edges and grain there is."""
    across, down = pictures.diff(dim=3).abs().mean(), pictures.diff(dim=2).abs().mean()
    return (across + down).item() / 2


def sheet(rows: Sequence[Tensor]) -> Image.Image:
    """Rows of pictures (b 3 h w), half as large."""
    whole = torch.cat([torch.cat(list(resize(row, (SIDE // 2, SIDE // 2))), dim=2) for row in rows], dim=1)
    return Image.fromarray(((whole.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy())


class Spaces(Claim):
    name: ClassVar[str] = "spaces"
    about: ClassVar[str] = "one stage in pixels, a cascade or latents at equal CPU seconds"
    key: ClassVar[tuple[str, ...]] = ("way", "seed")

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add("--seconds", type=float, default=300.0, help="CPU seconds that each way has in all (default: %(default)s)")
        add("--seeds", type=int, nargs="+", default=[0, 1], help="each is one run of everything (default: 0 1)")
        add("--width", type=int, default=128, help="of the transformer, a multiple of 32 (default: %(default)s)")
        add("--things", type=int, default=30, help="how many are learned (default: %(default)s)")
        add("--pictures", type=int, default=900, help="different ones to learn from (default: %(default)s)")
        add("--asked", type=int, default=60, help="scenes drawn (default: %(default)s)")

    def measured(self, options: argparse.Namespace, done: Sequence[Row]) -> Iterator[Row]:
        exam = Exam(options.things, options.pictures, options.asked)
        text = exam.asked.of(range(len(exam.truth)))
        for seed in options.seeds:
            ways = {way: KINDS[way](exam, options, seed) for way in WAYS if not self.is_done(done, way=way, seed=seed)}
            in_turns({f"{way} {i}": run for way, each in ways.items() for i, run in enumerate(each.runs)})
            shown = [exam.truth[:8]]
            for way, each in ways.items():
                each.rest()
                pictures = each.pictures(text).clamp(-1, 1)
                shown.append(pictures[:8])
                yield {"way": way, "seed": seed} | self._row(exam, each.runs, pictures, each.through(exam.truth))
            if len(ways) == len(WAYS):
                _save(sheet(shown), options.out / f"{self.name}_{seed}.jpg")

    def _row(self, exam: Exam, runs: Sequence[Run], pictures: Tensor, through: Tensor) -> Row:
        shares = exam.judge.shares(shrink(pictures))
        return {
            "parameters": sum(parameters(run.network) for run in runs),
            "seconds": round(sum(run.spent for run in runs), 1),
            "steps": [run.steps for run in runs],
            "error": round(root_mean_square(pictures, exam.truth), 4),
            "through": round(root_mean_square(through.clamp(-1, 1), exam.truth), 4),
            "steepness": round(steepness(pictures) / steepness(exam.truth), 3),
            **{name: round(shares[name], 4) for name in ("thing", "color", "backdrop")},
        }

    def table(self, rows: Sequence[Row]) -> str:
        columns = (
            *("way to 256 px", "parameters", "thing", "colour", "backdrop", "error", "of that, without drawing"),
            "edges and grain, of the render's",
        )
        return markdown(
            columns,
            [
                (
                    way,
                    f"{some[0]['parameters'] / 1e6:.2f} M",
                    *(each_seed(some, name, 2) for name in ("thing", "color", "backdrop")),
                    *(each_seed(some, name, 3) for name in ("error", "through")),
                    each_seed(some, "steepness", 2),
                )
                for (way,), some in grouped(rows, "way").items()
            ],
        )

    def plot(self, rows: Sequence[Row]) -> str:
        by_seed = grouped(rows, "seed")

        def lines(name: str) -> dict[str, list[tuple[float, float]]]:
            return {
                f"seed {s}": [(WAYS.index(row["way"]), row[name]) for row in some] for (s,), some in by_seed.items()
            }

        panels = [("thing", "share of things drawn right"), ("error", "error, root mean square")]
        at = list(WAYS)
        return panels_svg([Panel(up=up, across="", lines=lines(name), at=at, joined=False) for name, up in panels])


def _save(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, quality=88)
