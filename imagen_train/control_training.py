"""How is a control trained by its plan, and how does its file come about?"""

from __future__ import annotations

import dataclasses
import platform
from pathlib import Path

import torch

from imagen_core import ADAPTERS, AdapterSpec, Stage, load_stage, save_adapter
from imagen_core.adapters import Adapter
from imagen_core.checkpoints.readers.control import save_adapter_change
from imagen_core.text.reading import TextReading

from .changes import check_beside, learned_of
from .control_plans import ControlPlan, with_pictures
from .controls import ControlTask, start_adapter
from .identity_task import IdentityTask
from .image_prompts import ImagePromptTask
from .loop import RunState, TrainResult, train
from .options import TrainOptions
from .parallel import rank
from .picture_words import PictureWordsTask
from .references import ReferenceTask


def task_of(plan: ControlPlan, stage: Stage, options: TrainOptions) -> ControlTask:
    """What is learned: to follow a hint, to show what a reference shows, or who it shows."""
    if ADAPTERS[plan.adapter].takes_hint:
        return ControlTask(plan, stage, options)
    if ADAPTERS[plan.adapter].reads_small:
        return ReferenceTask(plan, stage, options)
    if ADAPTERS[plan.adapter].takes_key_points:
        return IdentityTask(plan, stage, options)
    return (PictureWordsTask if plan.adapter == "picture_words" else ImagePromptTask)(plan, stage, options)


def train_control(plan: ControlPlan, options: TrainOptions, path: Path) -> TrainResult:
    """Train a control by its plan and write it to `path`; stopped by a signal, it is saved but not written there."""
    stage = load_stage(plan.base, device=options.device)
    if stage.spec.enlarges and stage.reads_text:
        raise ValueError(
            f"{plan.base} enlarges and reads text: controls are trained for stages that draw, or read none"
        )
    if stage.reads_text and stage.spec.text != TextReading():
        raise ValueError(
            f"{plan.base} reads prompts as DeepFloyd IF does, and captions are encoded as imagen-mini reads them"
        )
    if ADAPTERS[plan.adapter].reads_small and not stage.spec.enlarges:
        raise ValueError(f"{plan.base} enlarges nothing: a reference is trained for an sr stage, such as sr256")
    if options.export and plan.lora_rank is not None:
        check_beside(plan.base, path.parent)
    plan = with_pictures(plan, stage.spec)
    task = task_of(plan, stage, options)
    network = task.begun(start_adapter(plan, stage, options))
    result = train(network, task, options, optim=plan.optim, config=plan.loop)
    if options.export and not result.interrupted and rank() == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        spec = AdapterSpec.of(result.model, stage, _training(plan, result.state, options, len(task.cache)))
        _save(result.model, spec, plan, path)
        path.chmod(0o644)
    return result


def _save(model: Adapter, spec: AdapterSpec, plan: ControlPlan, path: Path) -> None:
    if plan.lora_rank is None:
        save_adapter(path, model, spec, dtype=torch.int8 if plan.eight_bits else torch.float16)
    else:
        save_adapter_change(path, learned_of(model), spec, plan.base.name)


def _training(plan: ControlPlan, state: RunState, options: TrainOptions, pictures: int) -> dict:
    return {
        "images": state.images,
        "hours": round(state.seconds / 3600, 3),
        "steps": state.step,
        "different_pictures": pictures,
        "device": f"{options.device}, {options.threads} thread(s), {platform.machine()}",
        "seed": options.seed,
        "batch_size": options.batch_size or plan.batch_size,
        "optim": dataclasses.asdict(plan.optim),
        **({} if plan.lora_rank is None else {"rank": plan.lora_rank}),
        **{name: path.name for name in ("clip", "code", "embeds") if (path := getattr(plan, name)) is not None},
    }
