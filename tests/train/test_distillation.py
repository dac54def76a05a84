"""Does a student learn guidance and steps from its teacher, on a base stored in int8 too, and is its LoRA drawn with?"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from imagen_core import (
    Draw,
    Prompt,
    TextEmbeds,
    load_checkpoint,
    load_stage,
    read_lora,
    sample_base,
    save_checkpoint,
    save_lora,
    with_lora,
)
from imagen_core.denoiser import Denoiser
from imagen_core.guidance.classifier_free import ClassifierFreeGuidance
from imagen_core.parameterization import diffuse
from imagen_core.predictor import Point
from imagen_core.samplers.ddim import DDIM
from imagen_train import cli, data
from imagen_train.data import Rendered, render_pictures
from imagen_train.distillation import Changes, DistillationPlan, DistillationTask, distill
from imagen_train.loop import LoopConfig, train
from imagen_train.optim import OptimConfig
from imagen_train.options import TrainOptions


@dataclasses.dataclass(frozen=True)
class Plain:
    """Four captioned pictures."""

    name: str = "plain"
    side: int = 32
    window: None = None
    chunk: int = 4
    layouts: tuple[str, ...] = ()

    def rendered(self, index: int) -> Rendered:
        pixels = np.random.default_rng(index).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
        return Rendered(pixels, ["a dot", "two dots", "a line", "a red box"], {})


@pytest.fixture
def options(models, tmp_path, monkeypatch) -> TrainOptions:
    monkeypatch.setitem(data.KINDS, "plain", Plain())
    render_pictures(Plain(), 4, tmp_path / "cache")
    return TrainOptions(
        state_dir=tmp_path, cache_dir=tmp_path / "cache", models_dir=models, max_steps=15, preview_minutes=float("inf")
    )


@pytest.fixture
def base(lively, tmp_path):
    """A base in int8, as things64 is stored, that wants guidance."""
    network, spec = load_checkpoint(lively)
    path = tmp_path / "int8.safetensors"
    spec = dataclasses.replace(spec, defaults={"steps": 2, "guidance_scale": 3.0, "thresholding": "static"})
    save_checkpoint(path, network, spec=spec, dtype=torch.int8)
    return path


def plan_of(base, **settings) -> DistillationPlan:
    loop = LoopConfig(warmup_steps=2, ema_half_life=3.0)
    optim = OptimConfig(name="adamw", adamw_lr=0.01)
    given = {"pictures": "plain", "lora_rank": 4, "batch_size": 4, "optim": optim, "loop": loop}
    return DistillationPlan(base=base, **given | settings)


def task_of(plan: DistillationPlan, options: TrainOptions, stage=None) -> DistillationTask:
    stage = stage or load_stage(plan.base)
    return DistillationTask(plan, stage, stage, options)


def asked(task: DistillationTask, count: int) -> TextEmbeds:
    return task.texts.of([index % 4 for index in range(count)], torch.zeros(count, dtype=torch.bool))


def test_one_call_learns_what_guidance_makes_of_two(base, options):
    task = task_of(plan_of(base), options)
    model = Changes(task.stage.unet, 4)
    before = {key: value.clone() for key, value in task.stage.unet.state_dict().items()}

    def error(model: Changes) -> float:
        with torch.no_grad():
            return np.mean([task.loss(model, torch.Generator().manual_seed(seed), 0.0).item() for seed in range(3)])

    first = error(model)
    learned = train(model, task, options, optim=task.plan.optim, config=task.plan.loop)
    assert error(learned.model) < 0.9 * first
    assert all(torch.equal(before[key], value) for key, value in task.stage.unet.state_dict().items())
    shown = task.preview(learned.model)
    assert shown.picture.shape == (3, 2 * 64, 4 * 64) and shown.figures["psnr"] > 0


def test_the_target_of_guidance_is_the_guided_picture(base, options):
    task = task_of(plan_of(base, guidance_scale=2.0), options)
    text, generator = asked(task, 4), torch.Generator().manual_seed(0)
    x_0, noise = task.cache.pictures(range(4)), torch.randn(4, 3, 32, 32, generator=generator)
    times = torch.tensor([0.2, 0.5, 0.8, 0.95], dtype=torch.float64)
    alpha, sigma = task._scales(times, x_0)
    x_t = diffuse(x_0, noise, alpha, sigma)
    target = task._target(Point.on(task.stage.schedule, x_t, times), text, None)
    told = task.stage.encode_prompt(Prompt(text=text), 4)
    both = {}
    for name in ("cond", "null"):
        denoise = Denoiser(task.stage.predictor, {"cond": told[name]}, thresholding=lambda x: x)
        both[name] = denoise(x_t, times).x_0
    assert torch.allclose(target, (2 * both["cond"] - both["null"]).clamp(-1, 1), atol=1e-4)


@pytest.mark.parametrize("calls", [1, 3])
def test_the_target_of_a_step_is_where_two_of_the_teachers_lead(base, options, calls):
    """A student that puts out its targets draws with DDIM what the teacher draws in twice as many calls."""
    task = task_of(plan_of(base, steps=calls), options)
    text, x_T = asked(task, 2), torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    told, scale = task.stage.encode_prompt(Prompt(text=text), 2), ClassifierFreeGuidance(scale=task.guidance_scale)
    teacher = Denoiser(task.teacher.predictor, told, guidance=scale, thresholding=task.thresholding)
    wanted = DDIM().sample(teacher, x_T, DDIM().times(task.stage.schedule, 2 * calls, "uniform"), noise=None)
    x = x_T
    for call in range(calls):
        which = torch.full((2,), call)
        at = Point.on(task.stage.schedule, x, task.steps.t[which])
        x_0 = task._target(at, text, which)
        alpha, sigma = task._scales(task.steps.next[which], x)
        x = alpha * x_0 + sigma * (x - at.alpha * x_0) / at.sigma
    assert torch.allclose(x, wanted, atol=1e-4)


def test_the_command_leaves_a_lora_that_asks_for_few_calls_without_guidance(base, options, tmp_path):
    shared = [
        "--base", str(base), "--pictures", "plain", "--rank", "4", "--batch-size", "4", "--max-steps", "3",
        "--cache-dir", str(options.cache_dir), "--models-dir", str(options.models_dir), "--preview-minutes", "inf",
    ]  # fmt: skip
    first, second = tmp_path / "guided", tmp_path / "few"
    assert cli.main(["train", "distill", *shared, "--state-dir", str(first), "--guidance-scale", "2"]) == 0
    before = ["--from-weights", str(first / "distilled.safetensors"), "--steps", "2"]
    assert cli.main(["train", "distill", *shared, *before, "--state-dir", str(second)]) == 0
    stage, lora = load_stage(base), read_lora(second / "distilled.safetensors")
    assert lora.defaults == {"guidance_scale": 1.0, "steps": 2, "sampler": "ddim", "spacing": "uniform"}
    assert lora.training["distilled"] == {"guidance_scale": 1.0, "calls": 2}
    few = with_lora(stage, lora)
    assert few.spec.defaults["thresholding"] == "static" and with_lora(stage, lora, 0.0).spec == stage.spec
    rows = []
    few.unet.register_forward_pre_hook(lambda module, given: rows.append(len(given[0])))
    prompt = Prompt(text=TextEmbeds(embeds=torch.randn(1, 3, 32), mask=torch.ones(1, 3, dtype=torch.bool)))
    sample_base(few, prompt, Draw(seeds=[1], steps=2, sampler=DDIM()), height=32, width=32)
    assert rows == [1, 1]  # without guidance there is one branch, and a call of one picture


def test_bad_input_is_one_line(base, options, models):
    with pytest.raises(ValueError, match="0 steps draw nothing"):
        plan_of(base, steps=0)
    with pytest.raises(ValueError, match=r"guidance scale 0\.5 is below 1"):
        plan_of(base, guidance_scale=0.5)
    with pytest.raises(ValueError, match="what is distilled draws from text"):
        distill(plan_of(models / "sr256.safetensors"), options, options.state_dir / "x.safetensors")
    with pytest.raises(ValueError, match="name a set of the cache with --pictures"):
        distill(plan_of(base, pictures=None), options, options.state_dir / "x.safetensors")
    stage = load_stage(base)
    lora = task_of(plan_of(base), options, stage).lora(Changes(stage.unet, 4))
    path = save_lora(options.state_dir / "lora.safetensors", lora)
    with pytest.raises(ValueError, match="give --rank as it had"):
        Changes(stage.unet, 2, start=read_lora(path))
