"""How well does a small base draw, after so many CPU seconds, with this text encoder, this network, this way into it?

Shapes: b pictures, l tokens, d text width, e time embedding.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imagen_core.conditioning import Signals, TextEmbeds, Tokens
from imagen_core.draw import Draw
from imagen_core.guidance.classifier_free import ClassifierFreeGuidance
from imagen_core.losses import diffusion_loss, draw_times
from imagen_core.sampling import sample_base
from imagen_core.schedules.cosine import CosineSchedule
from imagen_core.stage import Prompt, Stage
from imagen_core.text.t5 import T5TextEncoder
from imagen_core.thresholding.static import StaticThresholding
from imagen_core.unets.u_vit import UViT, UViTConfig
from imagen_train.data import to_float
from imagen_train.plans import StagePlan
from imagen_train.tasks import stage_spec

from ._base import Row
from ._things import BY_SYNONYM, NAMED, Judge, Texts, World
from ._training import Run, parameters

SCHEDULE = CosineSchedule(shift=-1.0, logsnr_min=-12.0, logsnr_max=12.0)
BATCH, DROPPED, GUIDANCE, STEPS = 64, 0.1, 2.0, 12


class Exam:
    """What every run of a claim shares: training's pictures and captions, and scenes that it is asked to draw."""

    def __init__(self, world: World, pictures: int, asked: int) -> None:
        learned, scenes = world.scenes(pictures, 1), world.scenes(asked, 2)
        self.world, self.judge = world, Judge(world, scenes)
        self.pixels, self.captions = world.painted(learned), world.captions(learned, NAMED)
        self.asked = {"named": world.captions(scenes, NAMED), "synonym": world.captions(scenes, BY_SYNONYM)}


def network_of(text_dim: int, width: int, seed: int, kind: type[UViT] = UViT) -> UViT:
    """A transformer over 16 positions inside a small U-Net, as the shipped base is one."""
    torch.manual_seed(seed)
    return kind(
        UViTConfig(
            patch_size=4,
            channels=48,
            num_res_blocks=1,
            width=width,
            depth=3,
            per_head_channels=32,
            mlp_ratio=3.0,
            time_embed_dim=128,
            text_embed_dim=text_dim,
            pooling_queries=1,
        )
    )


class Pooled(UViT):
    """Text reaches it beside the time alone: no position of the picture reads a word."""

    def _projected(self, tokens: Tensor, mask: Tensor | None) -> Tokens:
        return super()._projected(tokens[:, :0], None)


class MeanOfWords(nn.Module):
    """The mean of the real tokens, then the two layers that attention pooling has: (b l d) -> (b e)."""

    def __init__(self, text_dim: int, embed_dim: int) -> None:
        super().__init__()
        self.in_layer, self.out_layer = nn.Linear(text_dim, embed_dim), nn.Linear(embed_dim, embed_dim)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        weight = mask[..., None].to(tokens.dtype)
        return self.out_layer(F.silu(self.in_layer((tokens * weight).sum(1) / weight.sum(1))))


class MeanPooled(Pooled):
    def __init__(self, config: UViTConfig) -> None:
        super().__init__(config)
        self.text_pooling = MeanOfWords(config.text_embed_dim, config.embed_dim)


class Read:
    """An exam's captions as one encoder reads them."""

    def __init__(self, exam: Exam, encoder: T5TextEncoder) -> None:
        self.exam, self.dim, self.learned = exam, encoder.embed_dim, Texts(encoder, exam.captions)
        self.asked = {name: Texts(encoder, each) for name, each in exam.asked.items()}


class Base:
    """A small base in training, and what it draws in the end."""

    def __init__(self, read: Read, network: UViT, *, seconds: float, seed: int) -> None:
        self.exam, self.asked = read.exam, read.asked
        self.run = Run(network, lambda model, random: _loss(model, read, random), seconds=seconds, seed=seed)

    def row(self) -> Row:
        """Loss, and shares of what is drawn right, of names and of synonyms."""
        network, judge = self.run.average, self.exam.judge
        row = {"steps": self.run.steps, "seconds": round(self.run.spent, 1), "parameters": parameters(network)}
        for name, texts in self.asked.items():
            text = texts.of(range(len(texts.captions)))
            row[f"loss_{name}"] = round(_asked_loss(network, judge.own, text), 5)
            shares = judge.shares(_drawn(network, text, self.exam.world.side))
            row |= {f"{aspect}_{name}": round(value, 4) for aspect, value in shares.items()}
        return row


def _loss(model: UViT, read: Read, random: torch.Generator) -> Tensor:
    rows = torch.randint(len(read.exam.pixels), (BATCH,), generator=random).tolist()
    text = read.learned.of(rows, torch.rand(BATCH, generator=random) < DROPPED)
    x_0 = to_float(read.exam.pixels[rows])
    noise = torch.randn(x_0.shape, generator=random)
    return _error(model, x_0, model.encode_text(text), draw_times(BATCH, random, power=0.75), noise)


def _error(model: UViT, x_0: Tensor, told: Signals, times: Tensor, noise: Tensor) -> Tensor:
    return diffusion_loss(
        lambda x_t, time: model(x_t, time, told),
        x_0,
        schedule=SCHEDULE,
        prediction_type="x_0",
        times=times,
        noise=noise,
    )


@torch.inference_mode()
def _asked_loss(model: UViT, x_0: Tensor, text: TextEmbeds) -> float:
    """The training loss of pictures that it has not seen, at the same noise in every run."""
    random = torch.Generator().manual_seed(5)
    noise, times = torch.randn(x_0.shape, generator=random), draw_times(len(x_0), random, power=0.75)
    return _error(model, x_0, model.encode_text(text), times, noise).item()


def _drawn(model: UViT, text: TextEmbeds, side: int) -> Tensor:
    plan = StagePlan(stage="base64", pictures="", unet=model.config, crop=side, schedule=SCHEDULE)
    draw = Draw(
        seeds=range(len(text.mask)),
        steps=STEPS,
        guidance=ClassifierFreeGuidance(scale=GUIDANCE),
        thresholding=StaticThresholding(),
    )
    stage = Stage(unet=model, schedule=SCHEDULE, spec=stage_spec(plan))
    return sample_base(stage, Prompt(text=text), draw, height=side, width=side)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--seconds", type=float, default=180.0, help="CPU seconds that each network is trained (default: %(default)s)")
    add("--seeds", type=int, nargs="+", default=[0, 1], help="each is one run of everything (default: 0 1)")
    add("--width", type=int, default=128, help="of the transformer, a multiple of 32 (default: %(default)s)")
    add("--things", type=int, default=100, help="how many are learned (default: %(default)s)")
    add("--pictures", type=int, default=2000, help="different ones to learn from (default: %(default)s)")
    add("--asked", type=int, default=100, help="scenes drawn by name, and again by synonym (default: %(default)s)")


def exam_of(options: argparse.Namespace) -> Exam:
    return Exam(World(options.things), options.pictures, options.asked)
