"""How does a plan become a trained stage? From which weights it starts, on which task, and what is exported."""

from __future__ import annotations

import copy
import dataclasses
import platform
from pathlib import Path

import torch
from torch import nn

from imagen_core import load_checkpoint, load_text_encoder, save_checkpoint
from imagen_core.checkpoints.readers.change import save_change
from imagen_core.unets import build_unet

from .changes import as_change, base_of, change_of, check_base, go_on_from
from .data import PictureCache
from .inpainting import InpaintTask, with_wider_stems
from .loop import RunState, TrainResult, load_state, train
from .options import TrainOptions
from .parallel import rank
from .plans import StagePlan
from .tasks import BaseTask, SuperResolutionTask, stage_spec


def start_network(plan: StagePlan, options: TrainOptions) -> tuple[nn.Module, RunState]:
    """A fresh network, or `--from-weights`' with its count of images and seconds of training carried on.

    Parts that the plan has and the weights lack start fresh: every branch of ours starts at zero, so that a network
    may grow without forgetting. ValueError: the weights have parts, or shapes, that the plan has not.
    """
    torch.manual_seed(options.seed)
    network = build_unet(plan.unet)
    if options.from_weights is None:
        return network, RunState()
    known, spec = load_checkpoint(options.from_weights, expected_stage=plan.stage)
    wanted = network.state_dict()
    weights = with_wider_stems(known.state_dict(), wanted, plan.unet)
    foreign = [key for key, value in weights.items() if key not in wanted or wanted[key].shape != value.shape]
    if foreign:
        raise ValueError(f"{options.from_weights} holds another network than this stage's plan: {spec.unet_config}")
    network.load_state_dict(weights, strict=False)
    return network, RunState(images=spec.training.get("images", 0))


def start_change(plan: StagePlan, options: TrainOptions) -> tuple[nn.Module, RunState]:
    """A network that learns as a change of `--from-weights`, or goes on from where those are a change themselves."""
    base, before = base_of(options)
    check_base(base, options)
    network, state = start_network(plan, dataclasses.replace(options, from_weights=base))
    as_change(network, load_checkpoint(base)[0].state_dict(), plan.lora_rank, seed=options.seed)
    if before is None:
        return network, state
    go_on_from(network, before.learned)
    return network, RunState(images=before.spec.training.get("images", 0))


def begin(plan: StagePlan, options: TrainOptions) -> tuple[nn.Module, RunState]:
    """What a plan's run begins with."""
    return start_network(plan, options) if plan.lora_rank is None else start_change(plan, options)


def export(plan: StagePlan, model: nn.Module, state: RunState, options: TrainOptions, pictures: int) -> Path:
    """Write the averaged weights to the models folder, with how they were made."""
    training = {
        "images": state.images,
        "hours": round(state.seconds / 3600, 3),
        "steps": state.step,
        "different_pictures": pictures,
        "pictures": plan.pictures if isinstance(plan.pictures, str) else plan.pictures.name,
        "device": f"{options.device}, {options.threads} thread(s), {platform.machine()}",
        "bf16": options.bf16,
        "seed": options.seed,
        "batch_size": options.batch_size or plan.batch_size,
        "from_weights": options.from_weights.name if options.from_weights else None,
        "teacher": options.teacher is not None,
        "optim": dataclasses.asdict(plan.optim),
        **({} if plan.lora_rank is None else {"rank": plan.lora_rank}),
    }
    options.models_dir.mkdir(parents=True, exist_ok=True)
    path = options.models_dir / f"{plan.file or plan.stage}.safetensors"
    spec = stage_spec(plan, training)
    if plan.lora_rank is None:
        kind = torch.int8 if plan.eight_bits else torch.float16
        save_checkpoint(path, model.cpu(), spec=spec, dtype=kind, in_float16=plan.in_float16)
    else:
        save_change(path, change_of(model.cpu(), base_of(options)[0], spec))
    path.chmod(0o644)
    return path


def _changing(plan: StagePlan, options: TrainOptions) -> nn.Module:
    """A network to fill with a change that a run has saved."""
    return start_change(plan, dataclasses.replace(options, resume=True))[0]


def export_saved(plan: StagePlan, options: TrainOptions) -> Path:
    """Export what a run has saved in its state directory, finished or not; the run may still be going on."""
    model = build_unet(plan.unet) if plan.lora_rank is None else _changing(plan, options)
    average = copy.deepcopy(model)
    state = load_state(options.state_dir, model, average)
    return export(plan, average, state, options, len(PictureCache(options.cache_dir, plan.pictures)))


def task_of(plan: StagePlan, options: TrainOptions) -> BaseTask | SuperResolutionTask:
    """What a plan's network learns: to enlarge, or to draw what the text encoder in the models folder reads."""
    if stage_spec(plan).enlarges:
        return SuperResolutionTask(plan, options)
    task = InpaintTask if "known" in plan.unet.inputs else BaseTask
    return task(plan, options, load_text_encoder(options.encoder, device=options.device))


def train_stage(plan: StagePlan, options: TrainOptions) -> TrainResult:
    """Train a stage by its plan, and export it when it is done.

    Stopped by a signal, it is saved but not exported: `imagen train export` does that.
    """
    task = task_of(plan, options)
    network, start = begin(plan, options)
    result = train(network, task, options, optim=plan.optim, config=plan.loop, start=start)
    if options.export and not result.interrupted and rank() == 0:
        export(plan, result.model, result.state, options, len(task.cache))
    return result
