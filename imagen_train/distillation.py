"""How does a stage learn to draw in fewer calls? It is its own teacher, and what it learns is kept as a LoRA.

Guidance first: one call learns what guidance makes of two (On Distillation of Guided Diffusion Models, arXiv 2210.03142,
section 3.1, at a fixed guidance scale). Then steps: one step of DDIM learns where two of the teacher's lead (Progressive
Distillation, arXiv 2202.00512, Algorithm 2). The noisy pictures are made of training's own.

Shapes: b images, c h w a picture, l text tokens, d text width.
"""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.func import functional_call

from imagen_core import (
    LoraSettings,
    Prompt,
    Stage,
    TextEmbeds,
    fingerprint,
    load_stage,
    load_text_encoder,
    read_lora,
    sample_base,
    save_lora,
    with_lora,
)
from imagen_core.denoiser import Denoiser
from imagen_core.draw import Draw
from imagen_core.guidance.classifier_free import ClassifierFreeGuidance
from imagen_core.lora.fitting import LowRankLayer, key_of, layers_to_change
from imagen_core.lora.low_rank import Lora, LowRank
from imagen_core.losses import WEIGHTINGS, draw_times
from imagen_core.parameterization import diffuse, per_image
from imagen_core.predictor import Point
from imagen_core.samplers.ddim import DDIM
from imagen_core.sampling import default_thresholding
from imagen_core.schedules import Schedule

from .caption_files import CaptionEmbeds, encoder_for, encoder_name
from .data import KINDS, PictureCache
from .loop import LoopConfig, Preview, TrainResult, train
from .metrics import psnr
from .optim import OptimConfig
from .options import TrainOptions
from .parallel import rank
from .sheets import grid

SHOWN = 12  # pictures of a preview
SPACING = "uniform"  # equal steps of t, which nest: every other one of twice as many calls'


@dataclass(frozen=True, kw_only=True)
class DistillationPlan:
    """How one student is made."""

    base: Path  # the stage's file
    guidance_scale: float | None = None  # what the teacher is guided at; None: the checkpoint's own
    steps: int | None = None  # calls that the student draws in; None: as many as before, each without guidance
    pictures: str | None = None  # a set of pictures in the cache; None: the base's own
    text_encoder: Path | None = None  # its folder; None: found by the base's width
    lora_rank: int = 16
    batch_size: int = 48
    time_power: float = 1.0  # of the times at which guidance is learned, t = u^power
    weighting: str = "capped_v"  # of the error by noise level, one of losses.WEIGHTINGS
    max_weight: float = 5.0  # its cap, where it has one
    optim: OptimConfig = OptimConfig(name="adamw", adamw_lr=2e-3)
    loop: LoopConfig = LoopConfig(warmup_steps=50, decay_start=0.3, ema_half_life=100.0, save_minutes=1.0)

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"{self.steps} steps draw nothing: ask for at least 1")
        if self.guidance_scale is not None and self.guidance_scale < 1:
            raise ValueError(f"guidance scale {self.guidance_scale} is below 1, which is off: ask for 1 or more")


class Changes(nn.Module):
    """The LoRA that is learned: what is added to the weights of the layers that are wide enough."""

    def __init__(self, network: nn.Module, lora_rank: int, *, seed: int = 0, start: Lora | None = None) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.names = list(layers_to_change(network, LoraSettings(rank=lora_rank)))
        layers = {name: LowRankLayer(network.get_submodule(name), lora_rank, generator) for name in self.names}
        self.layers = nn.ModuleDict({key_of(name): layer for name, layer in layers.items()})
        if start is not None:
            self._begin_as(start)

    def _begin_as(self, lora: Lora) -> None:
        for name, change in lora.changes.items():
            layer = self.layers[key_of(name)] if name in self.names else None
            if layer is None or layer.down.shape != change.down.shape:
                raise ValueError(f"the LoRA to begin from changes {name!r} by another rank: give --rank as it had")
            layer.down.data.copy_(change.down)
            layer.up.data.copy_(change.up * (change.alpha / change.down.shape[0]))

    def deltas(self) -> dict[str, Tensor]:
        """What is added to each layer's weight."""
        with torch.autocast(self.layers[key_of(self.names[0])].up.device.type, enabled=False):
            each = {name: self.layers[key_of(name)] for name in self.names}
            products = {name: layer.up.flatten(1) @ layer.down.flatten(1) for name, layer in each.items()}
        return {name: delta.view(len(delta), *each[name].down.shape[1:]) for name, delta in products.items()}

    def changes(self) -> dict[str, LowRank]:
        layers = {name: self.layers[key_of(name)] for name in self.names}
        return {
            name: LowRank(up=layer.up.detach(), down=layer.down.detach(), alpha=float(len(layer.down)))
            for name, layer in layers.items()
        }


class Reading(nn.Module):
    """A network and its reading of the text as one: network(x_t, time, embeds (b l d), mask (b l))."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_t: Tensor, time: Tensor, embeds: Tensor, mask: Tensor) -> Tensor:
        return self.network(x_t, time, self.network.encode_text(TextEmbeds(embeds=embeds, mask=mask)))


@dataclass(frozen=True)
class Steps:
    """A student's calls (n,) and the teacher's between them: t of each call, of the one half-way, and of the next."""

    t: Tensor
    between: Tensor
    next: Tensor  # -1: the clean picture

    @staticmethod
    def of(schedule: Schedule, calls: int) -> Steps:
        times = DDIM().times(schedule, 2 * calls, SPACING)
        return Steps(times[::2], times[1::2], torch.cat([times[2::2], times.new_tensor([-1.0])]))


class DistillationTask:
    """The loss of a student beside its teacher; neither network's own weights learn."""

    helper: nn.Module | None = None

    def __init__(self, plan: DistillationPlan, stage: Stage, teacher: Stage, options: TrainOptions) -> None:
        self.plan, self.stage, self.teacher = plan, stage, teacher
        self.device = torch.device(options.device)
        self.batch_size = options.batch_size or plan.batch_size
        self.cache = PictureCache(options.cache_dir, plan.pictures)
        folder = plan.text_encoder or encoder_for(
            stage.spec.unet_config.text_embed_dim, (options.models_dir, plan.base.parent)
        )
        self.texts = CaptionEmbeds(self.cache, load_text_encoder(folder, device=options.device), encoder_name(folder))
        self.thresholding = default_thresholding(stage)
        self.steps = None if plan.steps is None else Steps.of(stage.schedule, plan.steps)
        self.reading = Reading(stage.unet)
        self.weights = {name: weight.detach() for name, weight in stage.unet.named_parameters()}
        self.run = torch.compile(self._student) if options.compile else self._student

    @property
    def guidance_scale(self) -> float:
        """What the teacher is guided at: a teacher that has learned guidance asks for 1."""
        asked = self.teacher.spec.defaults.get("guidance_scale", 1.0)
        return float(asked if self.plan.guidance_scale is None else self.plan.guidance_scale)

    def loss(self, model: Changes, generator: torch.Generator, progress: float) -> Tensor:
        """Weighted squared error (scalar) of the student's x_0 against what the teacher makes of the same x_t."""
        rows = torch.randint(len(self.cache), (self.batch_size,), generator=generator).tolist()
        text = self.texts.of(rows, torch.zeros(len(rows), dtype=torch.bool))
        text = TextEmbeds(embeds=text.embeds.to(self.device), mask=text.mask.to(self.device))
        which, times = self._times(generator)
        x_0 = self.cache.pictures(rows).to(self.device)
        noise = torch.randn(x_0.shape, generator=generator).to(self.device)
        at = Point.on(self.stage.schedule, diffuse(x_0, noise, *self._scales(times, x_0)), times)
        with torch.no_grad():
            target = self._target(at, text, which)
        weight = WEIGHTINGS[self.plan.weighting](at.alpha, at.sigma, self.plan.max_weight)
        return (weight * (self._believed(model, at, text) - target).square()).mean()

    def _times(self, generator: torch.Generator) -> tuple[Tensor | None, Tensor]:
        """Which of the student's calls each image stands at, where they are counted, and its time (b,)."""
        if self.steps is None:
            return None, draw_times(self.batch_size, generator, power=self.plan.time_power).double()
        which = torch.randint(len(self.steps.t), (self.batch_size,), generator=generator)
        return which, self.steps.t[which]

    def _scales(self, times: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """alpha and sigma (b 1 1 1) at times (b,); of -1, a clean picture's."""
        alpha, sigma = self.stage.schedule.alpha_sigma(times.clamp(min=0.0))
        clean = times < 0
        return per_image(alpha.where(~clean, 1.0), like), per_image(sigma.where(~clean, 0.0), like)

    def _target(self, at: Point, text: TextEmbeds, which: Tensor | None) -> Tensor:
        """The x_0 (b c h w) that the student is to put out at x_t."""
        told = self.teacher.encode_prompt(Prompt(text=text), len(at.x_t))
        guidance = ClassifierFreeGuidance(scale=self.guidance_scale)
        denoise = Denoiser(self.teacher.predictor, told, guidance=guidance, thresholding=self.thresholding)
        if which is None:
            return denoise(at.x_t, at.t).x_0
        x, now = at.x_t, at.t
        for then in (self.steps.between[which], self.steps.next[which]):
            prediction = denoise(x, now)
            alpha, sigma = self._scales(then, x)
            x, now = alpha * prediction.x_0 + sigma * prediction.eps, then
        ratio = sigma / at.sigma  # one step of DDIM from x_t has to lead to this x: 2202.00512, appendix G
        return (x - ratio * at.x_t) / (alpha - ratio * at.alpha)

    def _believed(self, model: Changes, at: Point, text: TextEmbeds) -> Tensor:
        deltas = model.deltas()
        changed = {f"network.{name}.weight": self.weights[f"{name}.weight"] + delta for name, delta in deltas.items()}

        def network(x_t: Tensor, time: Tensor, told: TextEmbeds) -> Tensor:
            return self.run(changed, x_t, time, told.embeds, told.mask)

        predictor = dataclasses.replace(self.stage.predictor, network=network)
        return self.thresholding(predictor(at, text)[0][0])

    def _student(self, changed: Mapping[str, Tensor], *given: Tensor) -> Tensor:
        return functional_call(self.reading, changed, given)

    def preview(self, model: Changes) -> Preview:
        """The teacher's pictures above the student's, from the same noise; how far apart they are, in dB."""
        text = self.texts.encoder.encode(self.cache.captions[:SHOWN])
        drawn = [self._drawn(stage, text) for stage in (self.teacher, with_lora(self.stage, self.lora(model)))]
        figures = {"psnr": psnr(drawn[1], drawn[0]).mean().item()}
        return Preview(picture=grid(torch.cat(drawn), columns=len(text.mask)), figures=figures)

    def _drawn(self, stage: Stage, text: TextEmbeds) -> Tensor:
        asked = stage.spec.defaults
        guidance = ClassifierFreeGuidance(scale=asked.get("guidance_scale", 1.0))
        draw = Draw(
            seeds=range(len(text.mask)),
            steps=asked.get("steps", 20),
            sampler=DDIM(),
            spacing=SPACING,
            guidance=guidance,
        )
        return sample_base(stage, Prompt(text=text), draw)

    def lora(self, model: Changes, training: Mapping[str, object] | None = None) -> Lora:
        """What was learned, and how it wants to be drawn with."""
        few = {} if self.plan.steps is None else {"steps": self.plan.steps, "sampler": "ddim", "spacing": SPACING}
        base = fingerprint(self.stage)
        return Lora(
            changes=model.changes(), base=base, training=training or {}, defaults={"guidance_scale": 1.0, **few}
        )


def with_pictures(plan: DistillationPlan, stage: Stage) -> DistillationPlan:
    """The plan with the pictures that its base was trained on, where it names none. ValueError where none are known."""
    if plan.pictures is not None:
        return plan
    if (own := stage.spec.training.get("pictures")) not in KINDS:
        raise ValueError(f"{plan.base} does not say what it was trained on: name a set of the cache with --pictures")
    return dataclasses.replace(plan, pictures=own)


def distill(plan: DistillationPlan, options: TrainOptions, path: Path) -> TrainResult:
    """Train a student and write its LoRA to `path`; stopped by a signal, it is saved but not written there.

    `from_weights` of the options is the LoRA of a distillation before, which is the teacher and where the student begins.
    """
    stage = load_stage(plan.base, device=options.device)
    if stage.spec.enlarges or not stage.reads_text or stage.spec.learned_variance:
        raise ValueError(f"{plan.base}: what is distilled draws from text and learns no variance")
    before = None if options.from_weights is None else read_lora(options.from_weights)
    teacher = stage if before is None else with_lora(stage, before)
    task = DistillationTask(with_pictures(plan, stage), stage, teacher, options)
    model = Changes(stage.unet, plan.lora_rank, seed=options.seed, start=before)
    result = train(model, task, options, optim=plan.optim, config=plan.loop)
    if options.export and not result.interrupted and rank() == 0:
        told = _training(task, options, result)
        save_lora(path, task.lora(result.model.cpu(), told))
        path.chmod(0o644)
    return result


def _training(task: DistillationTask, options: TrainOptions, result: TrainResult) -> dict[str, object]:
    return {
        "distilled": {"guidance_scale": task.guidance_scale, "calls": task.plan.steps},
        "from_lora": options.from_weights.name if options.from_weights else None,
        "images": result.state.images,
        "hours": round(result.state.seconds / 3600, 3),
        "steps": result.state.step,
        "pictures": task.plan.pictures,
        "device": f"{options.device}, {options.threads} thread(s), {platform.machine()}",
        "seed": options.seed,
        "batch_size": task.batch_size,
        "rank": task.plan.lora_rank,
        "optim": dataclasses.asdict(task.plan.optim),
    }
