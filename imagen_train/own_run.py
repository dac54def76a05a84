"""How does a config become a trained stage? Pictures prepared, plan and options made, trained, exported, reported."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from imagen_core import read_spec
from imagen_core.schedules import schedule_from_config
from imagen_core.unets import UNetConfig, unet_config_from_dict

from .caption_files import encoder_for, encoder_width
from .course import LoopConfig
from .loop import TrainResult
from .optim import OptimConfig
from .options import TrainOptions, default_models_dir
from .own_pictures import collection_of
from .parallel import asked_for_bfloat16, asked_to_shard, join_workers, of_first, rank
from .plans import StagePlan, sr256_plan, sr1024_plan, things64_first_plan
from .prepared import Prepared, prepare
from .report import write_report
from .run_config import DRAWS, OptimiserTable, RunConfig
from .run_state import STATE_FILE
from .sharding import check_sharable
from .stages import train_stage

TRAINING, CACHE = "training", "cache"


def encoder_folder(config: RunConfig) -> Path:
    """The folder of the text encoder that reads the captions. ValueError: none is there."""
    folder = config.text_encoder or _encoder_of(config)
    if not (folder / "config.json").is_file():
        raise ValueError(f"text_encoder: there is none in {folder}; name a folder with its config.json and weights")
    return folder


def _encoder_of(config: RunConfig) -> Path:
    """The encoder of the width that given weights read; else things64's."""
    if config.from_weights is None or config.stage != DRAWS:
        return default_models_dir() / "things_text_encoder"
    width = read_spec(config.from_weights).unet_config.text_embed_dim
    return encoder_for(width, (default_models_dir(), config.from_weights.parent))


def network_of(config: RunConfig, like: StagePlan) -> UNetConfig:
    """The network's settings: a checkpoint's, those of [network] (which may change imagen-mini's), or imagen-mini's."""
    if config.from_weights is not None:
        return _given_network(config)
    given = dict(config.network or {})
    if "kind" not in given:
        known = {field.name for field in dataclasses.fields(like.unet)}
        if unknown := set(given) - known:
            raise ValueError(
                f"[network] has no setting {sorted(unknown)[0]!r}: imagen-mini's has {', '.join(sorted(known))}"
            )
        return dataclasses.replace(like.unet, **{k: tuple(v) if isinstance(v, list) else v for k, v in given.items()})
    given.setdefault("text_embed_dim", like.unet.text_embed_dim)
    if given["text_embed_dim"] != like.unet.text_embed_dim:
        wanted = like.unet.text_embed_dim or "left out: stages that enlarge are trained without text"
        raise ValueError(f"[network]: text_embed_dim is {given['text_embed_dim']}, and must be {wanted}")
    try:
        return unet_config_from_dict(given)
    except ValueError as error:
        raise ValueError(f"[network]: {error}") from error


def _given_network(config: RunConfig) -> UNetConfig:
    """The settings of the network of given weights. ValueError: it predicts something else than it is to learn."""
    spec, wanted = read_spec(config.from_weights), config.diffusion.predict
    if spec.prediction_type != wanted:
        raise ValueError(
            f"[diffusion] predict is {wanted}, and {config.from_weights.name} predicts {spec.prediction_type}: write "
            f'predict = "{spec.prediction_type}"'
        )
    return spec.unet_config


def _with_variance(config: RunConfig, unet: UNetConfig) -> UNetConfig:
    """The network, putting out a variance as well where that is learned. ValueError for given weights without one."""
    wanted = 2 * unet.in_channels
    if config.diffusion.loss != "hybrid" or unet.out_channels == wanted:
        return unet
    if config.from_weights is not None:
        raise ValueError(
            f"[diffusion] loss is hybrid, and {config.from_weights.name} puts out no variance: leave one of them out"
        )
    return dataclasses.replace(unet, out_channels=wanted)


def check(config: RunConfig) -> None:
    """What can be told before a picture is opened. ValueError: no pictures, no encoder, a network or ways that cannot be."""
    collection_of(config.data.path, config.data.caption)
    network_of(config, _plan_like(config))
    asked_for_bfloat16()
    if _shards(config):
        check_sharable(compiled=config.run.compile, optimiser=config.optimiser.name)


def _shards(config: RunConfig) -> bool:
    return config.run.shard or asked_to_shard()


def _plan_like(config: RunConfig) -> StagePlan:
    """imagen-mini's plan of the stage, from which a config begins."""
    shipped = {"sr256": sr256_plan, "sr1024": sr1024_plan}
    return shipped.get(config.stage, lambda: things64_first_plan(encoder_width(encoder_folder(config))))()


def plan_of(config: RunConfig, prepared: Prepared) -> StagePlan:
    """The plan of a config's stage, on pictures that are prepared."""
    like = _plan_like(config)
    data, told = config.data, config.diffusion
    return dataclasses.replace(
        like,
        file=None,
        eight_bits=False,
        pictures=prepared.shown.kind,
        held_out=prepared.held_out.kind if prepared.held_out else None,
        unet=_with_variance(config, network_of(config, like)),
        crop=data.side if config.stage == DRAWS else data.crop or min(64, data.shortest_side),
        schedule=schedule_from_config(dict(told.schedule)),
        prediction_type=told.predict,
        weighting=told.weighting,
        max_weight=told.cap,
        time_power=told.time_power,
        hybrid=1.0 if told.loss == "hybrid" else 0.0,
        importance=told.times == "importance",
        null_fraction=told.drop_captions,
        max_aug_level=told.max_aug_level,
        mixture={},
        batch_size=config.run.batch_size,
        flip=data.flip,
        turn=False,
        prompts=config.samples.prompts,
        layout_rates={},
        layout_weights={},
        optim=_optim_of(config.optimiser, like.optim),
        loop=_loop_of(config),
        defaults={**like.defaults, **_recommended(config)},
    )


def _optim_of(table: OptimiserTable, like: OptimConfig) -> OptimConfig:
    return OptimConfig(
        name=table.name,
        muon_lr=like.muon_lr if table.muon_rate is None else table.muon_rate,
        adamw_lr=like.adamw_lr if table.rate is None else table.rate,
        weight_decay=table.weight_decay,
        clip_norm=table.clip,
    )


def _loop_of(config: RunConfig) -> LoopConfig:
    table = config.optimiser
    return LoopConfig(
        warmup_steps=table.warmup_steps,
        decay_start=table.decay_start,
        decay=table.decay,
        ema_half_life=table.ema_half_life,
        save_minutes=config.run.save_minutes,
    )


def _recommended(config: RunConfig) -> dict[str, Any]:
    """What the checkpoint says that it likes to be sampled with."""
    samples, draws = config.samples, config.stage == DRAWS
    scale = samples.guidance_scale if draws else 1.0
    return {"steps": samples.steps, "sampler": samples.sampler, "guidance_scale": scale}


def options_of(config: RunConfig, cache_dir: Path, *, resume: bool) -> TrainOptions:
    """The options of a config's run. ValueError: there is a run already, or none to go on with."""
    run, state = config.run, config.out / TRAINING
    if not resume and (state / STATE_FILE).exists():
        raise ValueError(f"{state} holds a run: go on with --resume, name another `out`, or delete it")
    return TrainOptions(
        state_dir=state,
        cache_dir=cache_dir,
        models_dir=config.out,
        minutes=run.minutes,
        max_steps=run.steps,
        resume=resume,
        from_weights=config.from_weights,
        device=run.device,
        threads=run.threads,
        bf16=run.bf16 or run.device.startswith("cuda") or asked_for_bfloat16(),
        compile=run.compile,
        seed=run.seed,
        preview_minutes=run.preview_minutes,
        accumulate=run.accumulate,
        checkpointing=run.checkpointing,
        shard=_shards(config),
        tensorboard=run.tensorboard,
        text_encoder=encoder_folder(config),
    )


def _prepared_once(config: RunConfig) -> Prepared:
    """The pictures, made ready by the first process while others wait."""

    def ready() -> Prepared:
        data = config.data
        collection = collection_of(data.path, data.caption)
        return prepare(collection, config.out / CACHE, side=data.side, held_out=data.held_out, buckets=data.buckets)

    first = ready() if rank() == 0 else None
    of_first(0.0)
    return first or ready()


def train_own(config: RunConfig, *, resume: bool = False) -> TrainResult:
    """Train, export to `out`/STAGE.safetensors and write `out`/report.html, whether the run ended or was stopped."""
    check(config)
    join_workers(config.run.device, shard=True)
    prepared = _prepared_once(config)
    plan = plan_of(config, prepared)
    options = options_of(config, prepared.shown.folder.parent, resume=resume)
    result = train_stage(plan, options)
    if rank() == 0:
        write_report(options.state_dir, config.out / "report.html", title=config.out.name)
    return result
