"""What does a checkpoint say of itself: its network, its schedule, what it puts out and how it likes to be sampled?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..predictions import prediction_of
from ..unets import UNetConfig

STAGES = ("base64", "sr256", "sr1024")
LOW_RES_RESIZES = ("area_bilinear", "align_corners")


@dataclass(frozen=True, kw_only=True)
class StageSpec:
    """What a checkpoint says of itself.

    stage: one of STAGES. schedule_config: as `schedule_to_config` writes it. prediction_type: a key of PREDICTIONS.
    defaults: values that suit sampling (steps, sampler, guidance_scale, aug_level, ...). training: how it was made.
    low_res_resize: how a super-resolution stage wants its small picture enlarged: "area_bilinear" is
    `super_resolution.resize`, "align_corners" is bilinear from corner to corner (DeepFloyd IF). aug_zero_is_clean:
    whether aug_level 0 leaves that picture untouched; False where it still gets the schedule's first noise (DeepFloyd).
    """

    stage: str
    unet_config: UNetConfig
    schedule_config: dict[str, Any]
    prediction_type: str
    learned_variance: bool = False
    defaults: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    low_res_resize: str = "area_bilinear"
    aug_zero_is_clean: bool = True

    @property
    def enlarges(self) -> bool:
        """Whether it makes a small picture larger; else it draws from the prompt alone."""
        return self.stage != "base64"

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise ValueError(f"Unknown stage {self.stage!r}; expected one of {STAGES}.")
        prediction_of(self.prediction_type)
        if self.low_res_resize not in LOW_RES_RESIZES:
            raise ValueError(f"Unknown low_res_resize {self.low_res_resize!r}; expected one of {LOW_RES_RESIZES}.")


# Fields that files of format_version 1 need not have: what they mean when absent.
LATER_FIELDS = {"low_res_resize": StageSpec.low_res_resize, "aug_zero_is_clean": StageSpec.aug_zero_is_clean}
