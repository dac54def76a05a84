"""What does a scheduler_config.json of diffusers say of a stage? All of it is read, or the setting is refused by name.

A setting that is absent has the default of its scheduler's class, as in diffusers. Where there is no such file, a stage is
sampled as DeepFloyd's authors did.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._settings_file import is_number, read_settings
from ..schedules.discrete import BETAS, MOST_TIMESTEPS
from .stored import Stored

PREDICTIONS = {"epsilon": "eps", "v_prediction": "v", "sample": "x_0"}
SPACINGS = ("leading", "linspace", "trailing")
# The variance of a step: the network's own, or one of the two ends between which it would choose.
VARIANCES = {
    "learned_range": "learned",
    "fixed_small": "posterior",
    "fixed_small_log": "posterior",
    "fixed_large": "beta",
}
# What Karlo's own scheduler means where a file says nothing, in terms of DDPM's, which took its place.
UNCLIP = {
    "beta_schedule": "squaredcos_cap_v2",
    "timestep_spacing": "linspace",
    "variance_type": "fixed_small_log",
    "clip_sample_range": 1.0,
}
PUBLISHED = {"name": "discrete", "betas": "squaredcos_cap_v2", "num_timesteps": 1000}

# What schedulers other than DDPM's know besides, with the values that mean what our samplers do (None: any). diffusers
# carries such settings along when one class is made from another's file, and DDPM's passes them over.
OTHERS: dict[str, tuple[Any, ...] | None] = {
    "algorithm_type": ("dpmsolver++", "sde-dpmsolver++"),
    "disable_corrector": None,
    "euler_at_final": (False,),
    "final_sigmas_type": ("zero",),
    "flow_shift": None,
    "interpolation_type": None,
    "lambda_min_clipped": (-5.1, -math.inf),
    "lower_order_final": (True,),
    "predict_x0": None,
    "rho": None,
    "set_alpha_to_one": (True,),
    "shift_terminal": None,
    "sigma_data": None,
    "sigma_max": None,
    "sigma_min": None,
    "sigma_schedule": None,
    "skip_prk_steps": None,
    "solver_order": (2,),
    "solver_p": None,
    "solver_type": ("midpoint",),
    "time_shift_type": None,
    "timestep_type": None,
    "use_beta_sigmas": (False,),
    "use_dynamic_shifting": (False,),
    "use_exponential_sigmas": (False,),
    "use_flow_sigmas": (False,),
    "use_karras_sigmas": (False,),
    "use_lu_lambdas": (False,),
}
SAMPLERS = {"DDPMScheduler": "ddpm", "DDIMScheduler": "ddim", "DPMSolverMultistepScheduler": "dpmpp_2m"}


@dataclass(frozen=True, kw_only=True)
class SchedulerFacts:
    """schedule: as `schedule_to_config` writes it. variance: "learned", "posterior" or "beta". defaults: of sampling."""

    schedule: dict[str, Any] = field(default_factory=lambda: dict(PUBLISHED))
    prediction_type: str = "eps"
    variance: str = "learned"
    defaults: dict[str, Any] = field(default_factory=dict)


def published_facts(*, enlarges: bool) -> SchedulerFacts:
    """How DeepFloyd IF's authors sampled stage I, or stage II, which enlarges."""
    return SchedulerFacts(defaults={"percentile": 0.95, "threshold_maximum": 1.0 if enlarges else 1.5})


def scheduler_file(stored: Stored, folder: str = "scheduler") -> Path | None:
    """The file in that folder of a published pipeline; None where there is none, or the weights have a user's own name."""
    roots = (stored.folder.parent, stored.folder) if stored.published else ()
    places = (root / folder / "scheduler_config.json" for root in roots)
    return next((place for place in places if place.is_file()), None)


def read_scheduler(path: Path) -> SchedulerFacts:
    """The facts of one file. Raises ValueError naming it and the setting that is unknown, wrong or not to be had here."""
    settings = read_settings(path)
    if settings.get("_class_name") == "UnCLIPScheduler":
        settings = UNCLIP | settings | {"_class_name": "DDPMScheduler"}
    try:
        return _facts(_Settings(settings))
    except ValueError as error:
        raise ValueError(f"{path}: {error}; mend that line, or download the file again") from error


def _facts(settings: _Settings) -> SchedulerFacts:
    scheduler = settings.choice("_class_name", SAMPLERS, "DDPMScheduler")
    schedule = _schedule(settings)
    prediction = settings.choice("prediction_type", PREDICTIONS, "epsilon")
    if schedule.get("zero_snr") and prediction == "epsilon":
        raise ValueError("rescale_betas_zero_snr divides by zero with prediction_type 'epsilon'")
    facts = SchedulerFacts(
        schedule=schedule,
        prediction_type=PREDICTIONS[prediction],
        variance=_variance(settings, scheduler),
        defaults=_thresholding(settings, scheduler) | _spacing(settings, schedule, scheduler),
    )
    settings.pass_over(("_diffusers_version", "_use_default_values"))
    _check_others(settings, scheduler)
    return facts


def _schedule(settings: _Settings) -> dict[str, Any]:
    """Settings at their defaults are left out: a checkpoint's description says what is special."""
    count = settings.whole("num_train_timesteps", 1000, 2, MOST_TIMESTEPS)
    kind = settings.choice("beta_schedule", BETAS, "linear")
    start = settings.number("beta_start", 1e-4, 0.0, 1.0)
    end = settings.number("beta_end", 0.02, 0.0, 1.0)
    trained = settings.take("trained_betas", None)
    schedule: dict[str, Any] = {"name": "discrete", "betas": kind, "num_timesteps": count}
    if trained is not None:
        schedule["betas"] = _trained(trained, count)
    elif kind != "squaredcos_cap_v2" and (start, end) != (1e-4, 0.02):
        schedule |= {"beta_start": start, "beta_end": end}
    if settings.flag("rescale_betas_zero_snr", False):
        schedule["zero_snr"] = True
    offset = settings.whole("steps_offset", 0, 0, count - 1)
    return schedule | ({"steps_offset": offset} if offset else {})


def _trained(betas: Any, count: int) -> list[float]:
    if not isinstance(betas, list) or not all(is_number(beta) and 0.0 < beta < 1.0 for beta in betas):
        raise ValueError("trained_betas must be a list of numbers between 0 and 1")
    if len(betas) != count:
        raise ValueError(f"trained_betas has {len(betas)} entries, and num_train_timesteps is {count}")
    return [float(beta) for beta in betas]


def _variance(settings: _Settings, scheduler: str) -> str:
    """Of schedulers that add no noise of their own the setting is a leftover, and may be null."""
    if scheduler != "DDPMScheduler":
        settings.pass_over(("variance_type",))
        return "learned"
    return VARIANCES[settings.choice("variance_type", VARIANCES, "fixed_small")]


def _thresholding(settings: _Settings, scheduler: str) -> dict[str, Any]:
    dynamic = settings.flag("thresholding", False)
    percentile = settings.number("dynamic_thresholding_ratio", 0.995, 0.0, 1.0, with_end=True)
    maximum = settings.number("sample_max_value", 1.0, 0.0, math.inf)
    clips = settings.flag("clip_sample", scheduler != "DPMSolverMultistepScheduler")
    limit = settings.number("clip_sample_range", 1.0, 0.0, math.inf)
    if dynamic and maximum < 1.0:
        raise ValueError(f"sample_max_value is {maximum!r}, and thresholding needs at least 1")
    if dynamic:
        return {"percentile": percentile, "threshold_maximum": maximum}
    if not clips or scheduler == "DPMSolverMultistepScheduler":
        return {"thresholding": "none"}
    return {"thresholding": "static"} | ({"threshold_limit": limit} if limit != 1.0 else {})


def _spacing(settings: _Settings, schedule: Mapping[str, Any], scheduler: str) -> dict[str, Any]:
    """Empty for the plain kind, which every file names since diffusers writes its defaults down: the authors' lists."""
    spacing = settings.choice("timestep_spacing", SPACINGS, "leading")
    sampler = SAMPLERS[scheduler]
    if scheduler == "DPMSolverMultistepScheduler" and settings.get("algorithm_type") == "sde-dpmsolver++":
        sampler = "dpmpp_2m_sde"
    plain = spacing == "leading" and "steps_offset" not in schedule
    chosen = {} if plain and sampler == "ddpm" else {"spacing": spacing}
    return chosen | ({"sampler": sampler} if sampler != "ddpm" else {})


def _check_others(settings: _Settings, scheduler: str) -> None:
    """What remains: leftovers of another class, which DDPM ignores; those of the others must mean what we do."""
    for key, value in settings.rest().items():
        if key not in OTHERS:
            raise ValueError(f"{key} is a setting that is not known here")
        allowed = OTHERS[key]
        if scheduler != "DDPMScheduler" and allowed is not None and value not in allowed:
            raise ValueError(f"{key} is {value!r}, and of a {scheduler} only {allowed[0]!r} is drawn here")


def check_noising(path: Path, schedule: Mapping[str, Any]) -> None:
    """Raise ValueError where the image_noising_scheduler's file asks for another schedule than the stage's own."""
    noising = read_scheduler(path).schedule
    names = ("betas", "num_timesteps", "beta_start", "beta_end", "zero_snr")
    for name in names:
        if noising.get(name) != schedule.get(name):
            raise ValueError(
                f"{path}: its {name} is {_short(noising.get(name))}, and the stage's own scheduler has "
                f"{_short(schedule.get(name))}; both must be noised alike here"
            )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


class _Settings:
    """The settings of one file; each is taken once, and what nobody took is known."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._left = dict(settings)

    def get(self, key: str) -> Any:
        return self._left.get(key)

    def take(self, key: str, default: Any) -> Any:
        return self._left.pop(key, default)

    def pass_over(self, keys: tuple[str, ...]) -> None:
        for key in keys:
            self._left.pop(key, None)

    def rest(self) -> dict[str, Any]:
        return self._left

    def choice(self, key: str, known: Mapping[str, Any] | tuple[str, ...], default: str) -> str:
        value = self.take(key, default)
        if not isinstance(value, str) or value not in known:
            raise ValueError(f"{key} is {_short(value)}, and it must be one of {', '.join(known)}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self.take(key, default)
        if not isinstance(value, bool):
            raise ValueError(f"{key} is {_short(value)}, and it must be true or false")
        return value

    def whole(self, key: str, default: int, least: int, most: int) -> int:
        value = self.take(key, default)
        if not is_number(value) or value != int(value) or not least <= value <= most:
            raise ValueError(f"{key} is {_short(value)}, and it must be a whole number from {least} to {most}")
        return int(value)

    def number(self, key: str, default: float, above: float, below: float, *, with_end: bool = False) -> float:
        value = self.take(key, default)
        if not is_number(value) or not above < value or not (value < below or (with_end and value == below)):
            until = "" if math.isinf(below) else f" {'up to' if with_end else 'below'} {below:g}"
            raise ValueError(f"{key} is {_short(value)}, and it must be a positive number{until}")
        return float(value)
