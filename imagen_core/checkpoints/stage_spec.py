"""What does a checkpoint say of itself: its network, its schedule, how it reads text and how it likes to be sampled?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .._settings_file import is_number
from ..fingerprint import Fingerprint
from ..predictions import prediction_of
from ..spaces import Pixels, Space
from ..text.reading import TextReading
from ..unets import UNetConfig

LOW_RES_RESIZES = ("area_bilinear", "align_corners", "bicubic")
# Of defaults.
NUMBERS = ("steps", "guidance_scale", "aug_level", "percentile", "threshold_maximum", "threshold_limit", "temperature")
NAMES = ("sampler", "spacing", "thresholding")
_STAGE = re.compile(r"(base|sr)([1-9]\d{0,3})")


@dataclass(frozen=True, kw_only=True)
class StageSpec:
    """One stage of a cascade; ValueError where its parts contradict each other."""

    stage: str  # what people call it: its role and the side of the pictures it was trained to make, base64, sr256 ...
    unet_config: UNetConfig  # what the network is built from
    schedule_config: dict[str, Any]  # as `schedule_to_config` writes it
    prediction_type: str  # what the network puts out, a key of PREDICTIONS
    learned_variance: bool = False  # whether it puts out each step's variance besides
    defaults: dict[str, Any] = field(default_factory=dict)  # that suit sampling: steps, sampler, guidance_scale ...
    training: dict[str, Any] = field(default_factory=dict)  # how it was made
    text: TextReading = TextReading()  # how it reads a prompt, if it does
    space: Space = Pixels()  # where it draws
    low_res_resize: str = "area_bilinear"  # how its small picture is enlarged, see `super_resolution.upsample`
    low_res_8bit: bool = False  # whether that is rounded to 8 bits first, as a picture file's would be (GLIDE)
    change_of: Fingerprint | None = None  # the stage that it learned as a change of, and whose LoRAs it takes
    aug_zero_is_clean: bool = True  # aug_level 0 leaves it untouched; False: it has the schedule's first noise (IF)

    def __post_init__(self) -> None:
        if _STAGE.fullmatch(self.stage) is None:
            raise ValueError(
                f"unknown stage {self.stage!r}: expected base or sr and the side of its pictures, such as base64, sr256"
            )
        if self.enlarges and "low_res" not in self.inputs:
            raise ValueError(f"a {self.stage} stage enlarges pictures, and this network is shown none: call it base")
        prediction_of(self.prediction_type)
        if self.low_res_resize not in LOW_RES_RESIZES:
            known = ", ".join(LOW_RES_RESIZES)
            raise ValueError(f"unknown low_res_resize {self.low_res_resize!r}: expected one of {known}")

    @property
    def role(self) -> str:
        """ "base" draws from a prompt or a class, "sr" makes a small picture larger."""
        return _STAGE.fullmatch(self.stage)[1]

    @property
    def native_side(self) -> int:
        """The side in pixels of the pictures that it was trained to make, also where it draws their latents."""
        return int(_STAGE.fullmatch(self.stage)[2])

    @property
    def inputs(self) -> tuple[str, ...]:
        """What enters the network besides the noisy picture and the time, see `UNetConfig.inputs`."""
        return self.unet_config.inputs

    @property
    def enlarges(self) -> bool:
        """Whether it makes a small picture larger."""
        return self.role == "sr"


def check_defaults(defaults: Mapping[str, Any]) -> None:
    """Raise ValueError for a setting that a file's metadata calls a default, and that is of another kind."""
    for name, value in defaults.items():
        if name in NUMBERS and not is_number(value):
            raise ValueError(f"metadata 'defaults': {name} is {value!r}, expected a number; download the file again")
        if name in NAMES and not isinstance(value, str):
            raise ValueError(f"metadata 'defaults': {name} is {value!r}, expected a name; download the file again")
