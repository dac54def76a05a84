"""What is each stage of imagen-mini: its network, schedule, optimiser and course of training? (Only settings here.)"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from imagen_core.schedules.cosine import CosineSchedule
from imagen_core.unets import EfficientUNetConfig, UNetConfig, UViTConfig

from .course import LoopConfig
from .data import KINDS, PictureSource
from .optim import OptimConfig


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """One stage. `crop`: side of the training pictures. `defaults`: what its checkpoint recommends for sampling.

    time_power: t = u^power in the first part of the run (below 1: noise, where layout and colour are decided, comes
    more often); uniform from `uniform_from` of the run on, so that fine grain is learned too.
    """

    stage: str
    file: str | None = None  # what its weights are called; None: as the stage
    eight_bits: bool = False  # whether they are stored as int8, a scale a row, in place of float16 ...
    in_float16: tuple[str, ...] = ()  # ... but for these
    pictures: str | PictureSource
    unet: UNetConfig
    crop: int
    held_out: str | PictureSource | None = (
        None  # pictures that previews and their figures are about; None: the training's own
    )
    schedule: CosineSchedule = CosineSchedule(logsnr_min=-12.0, logsnr_max=12.0)
    prediction_type: str = "x_0"
    time_power: float = 1.0
    uniform_from: float = 0.67
    weighting: str = "capped_v"  # of the error by noise level, one of losses.WEIGHTINGS
    max_weight: float = 5.0  # its cap, where it has one
    hybrid: float = 0.0  # of the variational bound beside the error, which teaches a variance; 1 is Improved DDPM's
    importance: bool = False  # whether times are drawn by how large their loss has lately been, not by time_power
    null_fraction: float = 0.1  # captions dropped (Imagen, section 2.2)
    max_aug_level: float = 0.5
    clean_fraction: float = 0.25  # how often the low-res picture gets no noise at all
    mixture: dict[str, float] = field(default_factory=dict)  # super-resolution: other sets, and their share of a batch
    batch_size: int = 64
    flip: bool = False  # whether half of the pictures are mirrored, captions or not
    turn: bool = True  # super-resolution: whether crops are turned and mirrored at random
    lora_rank: int | None = None  # learned as a change of the weights begun with, large ones so; None: a whole network
    prompts: tuple[str, ...] = ()  # that previews draw; none: captions of the pictures
    layout_rates: dict[str, float] = field(default_factory=dict)  # how often a layout is drawn, 1 where not named
    layout_weights: dict[str, float] = field(default_factory=dict)  # what its error counts, 1 where not named
    route: float = 0.0  # of a U-ViT's positions, around all its blocks but two while training (arXiv 2501.04765) ...
    route_until: float = 0.8  # ... in this part of the run
    read_weight: float = 0.0  # of the error of what a `TextReader` says lies on either side, beside the picture's ...
    read_until: float = 0.7  # ... in this part of the run
    teach_at: str = "transformer.2"  # the module whose output learns a teacher's feature map, where there is a teacher
    teach_width: int | None = None  # channels of that output; None: the network's `width`
    teach_weight: float = 0.05
    teach_until: float = 0.6  # of the run
    optim: OptimConfig = OptimConfig()
    loop: LoopConfig = LoopConfig()
    defaults: dict[str, Any] = field(default_factory=dict)


# Sets that are another course of the same things: what is held out of that one is of them, too.
COURSES = {"things64_crowded": "things64_wide"}


def held_out_set(pictures: str | None) -> str | None:
    """Which set shows what training on `pictures` never does, where one is known."""
    name = f"{COURSES.get(pictures, pictures)}_held_out"
    return name if name in KINDS else None


def base64_plan(text_dim: int) -> StagePlan:
    """64 px from text 'text_dim' wide: a 4x4 stem, a transformer that reads the text at 8x8, eight pooling slots."""
    return StagePlan(
        stage="base64",
        pictures="base64",
        held_out="base64_held_out",
        crop=64,
        unet=UViTConfig(
            patch_size=4,
            channels=96,
            num_res_blocks=1,
            width=256,
            depth=6,
            per_head_channels=64,
            time_embed_dim=256,
            text_embed_dim=text_dim,
            pooling_queries=8,
            fine_channels=32,
            fine_blocks=1,
        ),
        schedule=CosineSchedule(shift=-1.0, logsnr_min=-12.0, logsnr_max=12.0),
        time_power=0.75,
        layout_rates={"sign": 0.5},  # letters, which so small a network never learns to spell, were .39 of all error
        layout_weights={"sign": 0.5},
        batch_size=64,
        loop=LoopConfig(decay_start=0.5),
        defaults={"steps": 20, "sampler": "dpmpp_2m", "guidance_scale": 3.0},
    )


def things64_first_plan(text_dim: int) -> StagePlan:
    """How things64 begins: few and large positions, each 16 px, and half the rates of base64.

    What is learned is where in the picture a named thing has what. With 64 positions a side of 8 px the same pictures
    taught nearly nothing in the same time (README of the weights): four times as many pairs of thing and place.
    """
    plan = base64_plan(text_dim)
    return dataclasses.replace(
        plan,
        file="things64_first",
        eight_bits=True,
        pictures="things64_first",
        held_out="things64_first_held_out",
        unet=dataclasses.replace(plan.unet, patch_size=8, channels=128),
        uniform_from=0.75,
        layout_rates={},
        layout_weights={},
        batch_size=96,
        optim=OptimConfig(muon_lr=0.01, adamw_lr=7.5e-4, newton_schulz_steps=4),
        loop=LoopConfig(decay_start=0.35),
        defaults={"steps": 20, "sampler": "dpmpp_2m", "guidance_scale": 2.0, "thresholding": "static"},
    )


def things64_plan(text_dim: int) -> StagePlan:
    """64 px pictures of named things, begun from those weights: each position is split in four, for what is small.

    A second fine level, of 2 px, takes off the grain that a network leaves whose finest cells are of 4 px.
    """
    plan = things64_first_plan(text_dim)
    return dataclasses.replace(
        plan,
        file="things64",
        pictures="things64_crowded",
        held_out="things64_wide_held_out",
        unet=dataclasses.replace(plan.unet, split_cells=True, finest_channels=48, finest_blocks=2, text_blocks=2),
        read_weight=0.02,
    )


def inpaint_plan(text_dim: int) -> StagePlan:
    """things64 that is shown what stays of a picture, and where: learned as a change of things64.

    Muon moves what learns whole (the stems) at half of things64's rate, AdamW the factors, at the rate that LoRAs have here.
    Rank 16 makes a file of 2.7 MB. `lora_rank=None` learns the whole network and exports 10.9 MB; which of the two is better
    after equal minutes has not been measured.
    """
    plan = things64_plan(text_dim)
    return dataclasses.replace(
        plan,
        file="things64_inpaint",
        pictures="things64_wide",
        held_out="things64_wide_held_out",
        read_weight=0.0,
        unet=dataclasses.replace(plan.unet, repaints=True),
        optim=dataclasses.replace(plan.optim, muon_lr=0.005, adamw_lr=1e-3),
        lora_rank=16,
    )


# Weights of a stage that enlarges whose rounding is seen in its pictures; of all others together it is not.
PAINTS = ("stem.weight", "up.1.last.weight", "head.weight")


def sr256_plan() -> StagePlan:
    """64 -> 256 px, trained on 64 px crops of drawings; adds to the bilinearly grown picture; reads no text."""
    return StagePlan(
        stage="sr256",
        pictures="things256",
        held_out="things256_held_out",
        crop=64,
        unet=_enlarger(patch_size=4, channels=(64, 96)),
        batch_size=16,
        max_aug_level=0.3,
        mixture={"full256": 0.15, "textures256": 0.15},
        eight_bits=True,
        in_float16=PAINTS,
        defaults={"steps": 4, "sampler": "dpmpp_2m", "guidance_scale": 1.0, "aug_level": 0.04},
    )


def sr1024_plan() -> StagePlan:
    """256 -> 1024 px, trained on 128 px crops of drawings; 8x8 stem, so that a step sees 128x128 cells."""
    return StagePlan(
        stage="sr1024",
        pictures="things1024",
        held_out="things1024_held_out",
        crop=128,
        unet=_enlarger(patch_size=8, channels=(96, 96)),
        batch_size=16,
        max_aug_level=0.3,
        mixture={"window1024": 0.1, "textures256": 0.15},
        eight_bits=True,
        in_float16=PAINTS,
        defaults={"steps": 2, "sampler": "dpmpp_2m", "guidance_scale": 1.0, "aug_level": 0.0},
    )


def _enlarger(*, patch_size: int, channels: tuple[int, int]) -> EfficientUNetConfig:
    return EfficientUNetConfig(
        patch_size=patch_size,
        channels=channels,
        num_res_blocks=(2, 2),
        strides=(1, 2),
        self_attention=(False, False),
        text_cross_attention=(False, False),
        text_embed_dim=None,
        predict_residual=True,
        residual_smoothing=0.02,
        stem_skip=True,
    )
