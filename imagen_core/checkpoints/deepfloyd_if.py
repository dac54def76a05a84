"""How is a DeepFloyd IF stage read as it was published, or as people keep it?

A folder (the pipeline's, or its unet/), sharded or not, fp16 or fp32; one .safetensors under diffusers' or the original
naming; the original's pytorch_model.bin. Which network it is comes from its settings or its shapes, never from its name.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from .._foreign import what_is
from .._safetensors import safetensors_header
from .._settings_file import read_settings
from ..unets.deepfloyd_unet import DeepFloydUNetConfig
from .deepfloyd_config import config_from_diffusers, config_from_shapes, facts_from_yml, is_complete
from .deepfloyd_keys import NAMINGS, SIGNATURES, Entry, key_table, with_fixed_variance
from .diffusers_scheduler import SchedulerFacts, check_noising, published_facts, read_scheduler
from .native import StageSpec, as_parameter
from .plausible import built_empty, check_settings, in_short
from .weights import Variant, Weights, is_shard, open_weights, read_float, shards_of, weight_sets

PUBLISHED = "diffusion_pytorch_model"
ORIGINAL = "pytorch_model"
DEFAULTS = {
    "base64": {"steps": 100, "sampler": "ddpm", "spacing": "smart100", "guidance_scale": 7.0},
    "sr256": {"steps": 50, "sampler": "ddpm", "spacing": "smart50", "guidance_scale": 4.0, "aug_level": 0.25},
}


@dataclass(frozen=True)
class Place:
    """Where a stage lies: its weights, and the settings that lie beside them."""

    path: Path
    files: list[Path]
    config: dict[str, Any] | None = None
    yml: Path | None = None
    scheduler: Path | None = None
    noising: Path | None = None
    named_as_published: bool = True


class OpenedStage(NamedTuple):
    """A stage's description, its tensors, the naming of their keys, and where a step's variance comes from."""

    spec: StageSpec
    weights: Weights
    naming: str
    variance: str


def read_deepfloyd_spec(path: str | os.PathLike[str]) -> StageSpec:
    """What a stage is, without reading its weights. Errors as `load_deepfloyd`."""
    with opened_deepfloyd(path) as stage:
        return stage.spec


def load_deepfloyd(
    path: str | os.PathLike[str], *, expected_stage: str | None = None, dtype: torch.dtype = torch.float32
) -> tuple[nn.Module, StageSpec]:
    """The network, in eval mode on the CPU as `dtype` whatever the stored type, and what is known of it.

    path: see the top of this file. Weights are read one at a time, so memory holds them once. Raises FileNotFoundError,
    or ValueError naming the file (and key or setting) for: what is no DeepFloyd stage, a stage other than
    `expected_stage`, a missing shard, a truncated file, missing or unexpected keys, wrong shapes or types.
    """
    with opened_deepfloyd(path, dtype) as (spec, weights, naming, variance):
        if expected_stage is not None and spec.stage != expected_stage:
            raise ValueError(
                f"{path} is DeepFloyd IF's {spec.stage} stage, and {expected_stage} is needed; choose another."
            )
        unet = built_empty(spec.unet_config, Path(path))
        table = with_fixed_variance(key_table(unet, naming), naming, weights.shapes, variance)
        _check_keys(Path(path), weights, table)
        ready = {key: _assembled(weights, entry, dtype) for key, entry in table.items()}
    unet.load_state_dict(ready, assign=True)
    return unet.eval(), spec


@contextmanager
def opened_deepfloyd(path: str | os.PathLike[str], dtype: torch.dtype = torch.float32) -> Iterator[OpenedStage]:
    """What is known of a stage, and its tensors while the context lasts."""
    place = find_stage(Path(path), dtype)
    with open_weights(place.files) as weights:
        naming = naming_of(weights.shapes)
        if naming is None:
            raise ValueError(_foreign(place.path, weights.shapes))
        try:
            config = _network_config(place, weights.shapes, naming)
            _check_channels(config)
            check_settings(config, len(weights.shapes))
        except (ValueError, TypeError, LookupError, ArithmeticError) as error:
            raise ValueError(
                f"{place.path}: {in_short(error)}; it is damaged, or no DeepFloyd IF stage: download it again, or choose"
                " another."
            ) from error
        facts = _scheduler(place, config)
        spec = _spec(config, facts)
        yield OpenedStage(spec, weights, naming, facts.variance)


def is_deepfloyd(path: str | os.PathLike[str]) -> bool:
    """Whether `load_deepfloyd` is the one to read `path`: a folder, a torch archive (.bin), or a safetensors file with a
    stage's keys, told from its header alone. A shard called as published is taken for one of a stage. False for a file
    that is not there or cannot be read.
    """
    path = Path(path)
    if path.is_dir() or path.suffix == ".bin" or (path.name.startswith(PUBLISHED) and is_shard(path)):
        return True
    try:
        header = safetensors_header(path)
    except OSError:
        return False
    return any(f'"{signature}"'.encode() in header for signature in SIGNATURES.values())


def naming_of(keys: Mapping[str, Any]) -> str | None:
    """One of NAMINGS, or None for the weights of something else."""
    return next((naming for naming in NAMINGS if SIGNATURES[naming] in keys), None)


def _foreign(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> str:
    known = what_is(shapes)
    if known is not None:
        return f"{path} is no DeepFloyd IF stage: it holds {known}; choose another"
    first = min(shapes, default=None)
    keys = f"its {len(shapes)} weights{f', first {first!r},' if first else ''}"
    return f"{path} is no DeepFloyd IF stage: {keys} lack {SIGNATURES['diffusers']!r}; choose another"


def _network_config(place: Place, shapes: Mapping[str, tuple[int, ...]], naming: str) -> DeepFloydUNetConfig:
    """From config.json where there is a whole one, else from the shapes.

    A file under a name of its own may lie beside another model's config.json: where the shapes make sense by themselves
    and say otherwise, they are believed.
    """
    if naming == "original":
        return config_from_shapes(shapes, naming, facts_from_yml(place.yml) if place.yml else None)
    if place.config is None or not is_complete(place.config):
        return config_from_shapes(shapes, naming)
    if place.named_as_published:
        return config_from_diffusers(place.config)
    try:
        told = config_from_shapes(shapes, naming)
    except ValueError:
        return config_from_diffusers(place.config)
    settings = config_from_diffusers(place.config)
    same = all(getattr(told, name) == getattr(settings, name) for name in ("channels", "num_res_blocks", "attention"))
    return settings if same and told.low_res_conditioning == settings.low_res_conditioning else told


def _scheduler(place: Place, config: DeepFloydUNetConfig) -> SchedulerFacts:
    """How the stage is sampled: as its scheduler_config.json says, else as published."""
    if place.scheduler is None:
        return published_facts(_stage(config))
    facts = read_scheduler(place.scheduler)
    if place.noising is not None and config.low_res_conditioning:
        check_noising(place.noising, facts.schedule)
    return facts


def _stage(config: DeepFloydUNetConfig) -> str:
    return "sr256" if config.low_res_conditioning else "base64"


def _check_channels(config: DeepFloydUNetConfig) -> None:
    if config.in_channels != 3 or config.out_channels not in (3, 6):
        raise ValueError(
            f"it reads {config.stem_channels} channels and puts out {config.out_channels}; DeepFloyd IF's stages read 3"
            " (I) or 6 (II) and put out 6"
        )


def _spec(config: DeepFloydUNetConfig, facts: SchedulerFacts) -> StageSpec:
    learned = facts.variance == "beta" or (facts.variance == "learned" and config.out_channels == 6)
    return StageSpec(
        stage=_stage(config),
        unet_config=replace(config, out_channels=6 if learned else 3),
        schedule_config=facts.schedule,
        prediction_type=facts.prediction_type,
        learned_variance=learned,
        defaults=DEFAULTS[_stage(config)] | facts.defaults,
        low_res_resize="align_corners",
        aug_zero_is_clean=False,
    )


def _check_keys(path: Path, weights: Weights, table: Mapping[str, Entry]) -> None:
    expected = {key: shape for entry in table.values() for key, shape in entry.parts.items()}
    stored = weights.shapes
    for problem, keys in (
        ("lacks", expected.keys() - stored.keys()),
        ("has unexpected", stored.keys() - expected.keys()),
    ):
        if keys:
            raise ValueError(
                f"{path} {problem} {len(keys)} weights of its {len(expected)}, first {min(keys)!r}; it is damaged, or no"
                " DeepFloyd IF stage: download it again, or choose another."
            )
    for key, shape in expected.items():
        if stored[key] != shape:
            raise ValueError(
                f"{path}: {key!r} has shape {stored[key]}, its settings ask for {shape}; it is damaged, or its config is"
                " another model's: download both again."
            )


def _assembled(weights: Weights, entry: Entry, dtype: torch.dtype) -> torch.Tensor:
    return as_parameter(entry.join([read_float(weights, key, dtype) for key in entry.parts]))


def find_stage(path: Path, dtype: torch.dtype = torch.float32) -> Place:
    """The files of the stage at `path`, a file or a folder.

    Of several sets of weights the one closest to `dtype` is taken: fp16 for half precision, the full one else.
    Raises FileNotFoundError, or ValueError for a folder without a stage, a missing shard or damaged settings.
    """
    if path.is_dir():
        return _find_in_folder(path, dtype)
    if not path.exists():
        raise FileNotFoundError(f"No checkpoint at {path}; check the name, or put the file there.")
    published = path.name.startswith(PUBLISHED)
    return _place(path, path.parent, shards_of(path), named_as_published=published)


def _find_in_folder(path: Path, dtype: torch.dtype) -> Place:
    inner = path / "unet"
    tried = [(folder, PUBLISHED) for folder in (inner, path)]
    if (path / "config.yml").is_file():  # else pytorch_model is a text encoder's name too
        tried.append((path, ORIGINAL))
    for folder, name in tried:
        sets = weight_sets(folder, name, ".safetensors") or weight_sets(folder, name, ".bin")
        if sets:
            return _place(path, folder, _closest(sets, dtype).files)
    wanted = f"{PUBLISHED}.safetensors in it or in its unet/, or config.yml with {ORIGINAL}.safetensors or .bin"
    raise ValueError(f"{path} holds no DeepFloyd IF stage: expected {wanted}; choose its model folder, or the file.")


def _closest(sets: list[Variant], dtype: torch.dtype) -> Variant:
    wanted = "" if dtype == torch.float32 else "fp16"
    return min(sets, key=lambda one: (one.infix != wanted, one.infix != "", one.infix))


def _place(path: Path, folder: Path, files: list[Path], *, named_as_published: bool = True) -> Place:
    config = _network_settings(folder / "config.json", strict=named_as_published)
    yml = folder / "config.yml"
    roots = (folder.parent, folder) if named_as_published else ()
    return Place(
        path,
        files,
        config,
        yml if yml.is_file() else None,
        _first_file(root / "scheduler" / "scheduler_config.json" for root in roots),
        _first_file(root / "image_noising_scheduler" / "scheduler_config.json" for root in roots),
        named_as_published,
    )


def _first_file(places: Iterable[Path]) -> Path | None:
    return next((place for place in places if place.is_file()), None)


def _network_settings(path: Path, *, strict: bool) -> dict[str, Any] | None:
    """The config.json beside some weights, if it is a U-Net's; when not `strict`, a damaged one is somebody else's."""
    try:
        config = read_settings(path) if path.is_file() else None
    except ValueError:
        if strict:
            raise
        return None
    ours = config is not None and config.get("_class_name", "UNet2DConditionModel") == "UNet2DConditionModel"
    return config if ours else None
