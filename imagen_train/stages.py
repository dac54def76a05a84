"""How does a plan become a trained stage? Tasks (loss, previews) for base and super-resolution, start and export.

Shapes: b images, l text tokens, d text width, h w pixels.
"""

from __future__ import annotations

import dataclasses
import json
import platform
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imagen_core.checkpoints.native import StageSpec, load_checkpoint, save_checkpoint
from imagen_core.conditioning import Signals, TextEmbeds
from imagen_core.draw import Draw
from imagen_core.guidance.classifier_free import ClassifierFreeGuidance
from imagen_core.sampling import sample_base, super_resolve
from imagen_core.schedules import schedule_to_config
from imagen_core.stage import Prompt, Stage
from imagen_core.super_resolution import augment, resize
from imagen_core.unets import build_unet

from .caption_files import CaptionEmbeds, encoder_name
from .classifier import load_classifier
from .data import PictureCache
from .loop import Preview, RunState, TrainResult, load_state, train
from .losses import aug_weight, diffusion_loss, draw_times
from .metrics import bicubic, psnr
from .options import TrainOptions
from .parallel import rank
from .plans import StagePlan, base64_plan, sr256_plan, sr1024_plan, things64_plan
from .scenes.vocabulary import LAYOUTS
from .teaching import Teaching

if TYPE_CHECKING:
    from imagen_core.text.t5 import T5TextEncoder

REFRESH_STEPS = 500  # how often the cache is asked for pictures rendered meanwhile


class _StageTask:
    """What both tasks share: plan, pictures, and the half-trained network seen as a Stage."""

    def __init__(self, plan: StagePlan, options: TrainOptions):
        self.plan, self.device = plan, torch.device(options.device)
        self.batch_size = options.batch_size or plan.batch_size
        self.cache = PictureCache(options.cache_dir, plan.pictures)
        self.held_out = PictureCache(options.cache_dir, f"{plan.pictures}_held_out")
        self.helper: nn.Module | None = None
        self.calls = 0

    def _time_and_noise(self, shape: torch.Size, generator: torch.Generator, progress: float) -> tuple[Tensor, Tensor]:
        power = self.plan.time_power if progress < self.plan.uniform_from else 1.0
        times = draw_times(shape[0], generator, power=power)
        return times.to(self.device), torch.randn(shape, generator=generator).to(self.device)

    def _loss(
        self,
        network: nn.Module,
        x_0: Tensor,
        cond: Signals,
        times: Tensor,
        noise: Tensor,
        image_weight: Tensor | None = None,
    ) -> Tensor:
        return diffusion_loss(
            lambda x_t, time: network(x_t, time, cond),
            x_0,
            schedule=self.plan.schedule,
            prediction_type=self.plan.prediction_type,
            times=times,
            noise=noise,
            max_weight=self.plan.max_weight,
            image_weight=image_weight,
        )

    def stage(self, model: nn.Module) -> Stage:
        return Stage(unet=model, schedule=self.plan.schedule, spec=stage_spec(self.plan))


class BaseTask(_StageTask):
    """Text -> 64 px."""

    def __init__(self, plan: StagePlan, options: TrainOptions, encoder: T5TextEncoder):
        super().__init__(plan, options)
        with torch.autocast(self.device.type, enabled=False):
            self.texts = CaptionEmbeds(self.cache, encoder, encoder_name(options.models_dir / "text_encoder"))
        self._take_in()
        if options.teacher is not None:
            self.helper = Teaching(load_classifier(options.teacher), plan.unet.width)

    def _take_in(self) -> None:
        """Encode the captions of pictures that are new, and weigh pictures by their layouts."""
        with torch.autocast(self.device.type, enabled=False):  # the encoder is float32, wherever this is called
            self.texts.refresh()
        if not self.plan.layout_rates and not self.plan.layout_weights:
            self.rates = self.weights = None
            return
        layouts = torch.tensor(self.cache.labels["layout"])
        self.rates = torch.tensor([self.plan.layout_rates.get(name, 1.0) for name in LAYOUTS])[layouts]
        self.weights = torch.tensor([self.plan.layout_weights.get(name, 1.0) for name in LAYOUTS])[layouts]

    def loss(self, model: nn.Module, generator: torch.Generator, progress: float) -> Tensor:
        """Loss of one batch of captioned pictures."""
        self.calls += 1
        if self.calls % REFRESH_STEPS == 0:
            self.cache.refresh()
            self._take_in()
        chosen = self._chosen(generator)
        indices, weight = chosen.tolist(), None if self.weights is None else self.weights[chosen].to(self.device)
        dropped = torch.rand(self.batch_size, generator=generator) < self.plan.null_fraction
        x_0 = self.cache.pictures(indices).to(self.device)
        times, noise = self._time_and_noise(x_0.shape, generator, progress)
        cond = model.encode_text(_to(self.texts.of(indices, dropped), self.device))
        if self.plan.route:
            model.routed = self.plan.route if progress < self.plan.route_until else 0.0
        if self.helper is None or progress >= self.plan.teach_until:
            return self._loss(model, x_0, cond, times, noise, weight)
        with self.helper.listening(model.transformer[self.plan.teach_block]):
            loss = self._loss(model, x_0, cond, times, noise, weight)
        return loss + self.plan.teach_weight * self.helper.distance(x_0)

    def _chosen(self, generator: torch.Generator) -> Tensor:
        """Which pictures make a batch (b,)."""
        if self.rates is None:
            return torch.randint(len(self.cache), (self.batch_size,), generator=generator)
        return torch.multinomial(self.rates, self.batch_size, replacement=True, generator=generator)

    def preview(self, model: nn.Module) -> Preview:
        """Twenty-four held-out captions drawn from fixed seeds, and the x_0 error at three times."""
        captions = self.held_out.captions[:24]
        drawn = sample_base(
            self.stage(model),
            Prompt(text=_to(self.texts.encoder.encode(captions), self.device)),
            Draw(
                seeds=range(len(captions)),
                steps=20,
                guidance=ClassifierFreeGuidance(scale=self.plan.defaults["guidance_scale"]),
            ),
        )
        return Preview(picture=grid(drawn, columns=6, scale=2), figures=self._errors(model))

    def _errors(self, model: nn.Module, count: int = 64) -> dict[str, float]:
        """Mean squared x_0 error on held-out pictures at t = .9, .6, .3, same noise every time."""
        count = min(count, len(self.held_out))
        generator = torch.Generator().manual_seed(0)
        x_0 = self.held_out.pictures(range(count)).to(self.device)
        noise = torch.randn(x_0.shape, generator=generator).to(self.device)
        text = _to(self.texts.encoder.encode(self.held_out.captions[:count]), self.device)
        cond = model.encode_text(text)
        plan, errors = self.plan, {}
        for t in (0.9, 0.6, 0.3):
            times = torch.full((count,), t, device=self.device)
            errors[f"mse_{t}"] = diffusion_loss(
                lambda x_t, time: model(x_t, time, cond),
                x_0,
                schedule=plan.schedule,
                prediction_type=plan.prediction_type,
                times=times,
                noise=noise,
                max_weight=1.0,
            ).item()
        return errors


class SuperResolutionTask(_StageTask):
    """Small picture -> four times its side, on crops of one set of pictures and (where the plan names some) others."""

    def __init__(self, plan: StagePlan, options: TrainOptions):
        super().__init__(plan, options)
        self.others = {PictureCache(options.cache_dir, name): share for name, share in plan.mixture.items()}

    def _crops(self, generator: torch.Generator) -> Tensor:
        """A batch (b 3 s s), the plan's own set first."""
        counts = {cache: round(self.batch_size * share) for cache, share in self.others.items()}
        parts = {self.cache: self.batch_size - sum(counts.values()), **counts}
        return torch.cat([cache.crops(count, self.plan.crop, generator) for cache, count in parts.items() if count])

    def loss(self, model: nn.Module, generator: torch.Generator, progress: float) -> Tensor:
        """Loss of one batch of crops, their low-res versions noised by a random aug_level."""
        self.calls += 1
        if self.calls % REFRESH_STEPS == 0:
            self.cache.refresh()
        plan, b = self.plan, self.batch_size
        x_0 = self._crops(generator).to(self.device)
        times, noise = self._time_and_noise(x_0.shape, generator, progress)
        level = torch.rand(b, generator=generator) ** 1.5 * plan.max_aug_level  # sampling uses the low ones
        level = level.where(torch.rand(b, generator=generator) >= plan.clean_fraction, 0.0).to(self.device)
        low_res = shrunk_and_grown(x_0)
        low_res = augment(low_res, level, plan.schedule, torch.randn(x_0.shape, generator=generator).to(self.device))
        weight = aug_weight(plan.schedule.alpha_sigma(level)[1])
        return self._loss(model, x_0, Signals(pixels=low_res, aug_level=level), times, noise, weight)

    def preview(self, model: nn.Module) -> Preview:
        """Rows: grown low-res, enlarged by the network at aug_level 0, truth. Figures: PSNR against bicubic, in dB."""
        rows = range(min(6, len(self.held_out)))
        truth = self.held_out.pictures(rows).to(self.device)
        small = shrink(truth)
        drawn = super_resolve(self.stage(model), small, None, Draw(seeds=rows, steps=8)).to(self.device)
        rivals = {"psnr": drawn, "psnr_bicubic": bicubic(small)}
        figures = {name: psnr(picture, truth).mean().item() for name, picture in rivals.items()}
        return Preview(picture=grid(torch.cat([shrunk_and_grown(truth), drawn, truth]), columns=6), figures=figures)


def _to(text: TextEmbeds, device: torch.device) -> TextEmbeds:
    return TextEmbeds(embeds=text.embeds.to(device, torch.float32), mask=text.mask.to(device))


def shrink(picture: Tensor, factor: int = 4) -> Tensor:
    """(b c h w) by area to (b c h/factor w/factor)."""
    return resize(picture, (picture.shape[-2] // factor, picture.shape[-1] // factor))


def shrunk_and_grown(picture: Tensor) -> Tensor:
    """What a super-resolution network is shown: the picture shrunk four times by area and grown back bilinearly."""
    return resize(shrink(picture), tuple(picture.shape[-2:]))


def grid(pictures: Tensor, *, columns: int, scale: int = 1) -> Tensor:
    """(b 3 h w) as one picture (3 rows*h columns*w), magnified by whole pixels."""
    pictures = F.interpolate(pictures.cpu().float(), scale_factor=scale) if scale > 1 else pictures.cpu().float()
    rows = [torch.cat(list(row), dim=2) for row in pictures.split(columns)]
    rows[-1] = F.pad(rows[-1], (0, rows[0].shape[2] - rows[-1].shape[2]))
    return torch.cat(rows, dim=1)


def stage_spec(plan: StagePlan, training: dict | None = None) -> StageSpec:
    """A plan as its checkpoint describes it."""
    return StageSpec(
        stage=plan.stage,
        unet_config=plan.unet,
        schedule_config=schedule_to_config(plan.schedule),
        prediction_type=plan.prediction_type,
        defaults=plan.defaults,
        training=training or {},
    )


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
    weights, wanted = known.state_dict(), network.state_dict()
    foreign = [key for key, value in weights.items() if key not in wanted or wanted[key].shape != value.shape]
    if foreign:
        raise ValueError(f"{options.from_weights} holds another network than this stage's plan: {spec.unet_config}")
    network.load_state_dict(weights, strict=False)
    return network, RunState(images=spec.training.get("images", 0))


def export(plan: StagePlan, model: nn.Module, state: RunState, options: TrainOptions, pictures: int) -> Path:
    """Write the averaged weights, float16, to the models folder, with how they were made."""
    training = {
        "images": state.images,
        "hours": round(state.seconds / 3600, 3),
        "steps": state.step,
        "different_pictures": pictures,
        "device": f"{options.device}, {options.threads} thread(s), {platform.machine()}",
        "bf16": options.bf16,
        "seed": options.seed,
        "batch_size": options.batch_size or plan.batch_size,
        "from_weights": options.from_weights.name if options.from_weights else None,
        "teacher": options.teacher is not None,
        "optim": dataclasses.asdict(plan.optim),
    }
    options.models_dir.mkdir(parents=True, exist_ok=True)
    path = options.models_dir / f"{plan.stage}.safetensors"
    save_checkpoint(path, model.cpu(), spec=stage_spec(plan, training), dtype=torch.float16)
    path.chmod(0o644)
    return path


def plan_of(stage: str, options: TrainOptions) -> StagePlan:
    """The shipped plan of a stage; the base's needs the width of the text encoder in the models folder."""
    if stage in ("sr256", "sr1024"):
        return {"sr256": sr256_plan, "sr1024": sr1024_plan}[stage]()
    config = json.loads((options.models_dir / "text_encoder" / "config.json").read_text())
    plan = things64_plan if stage == "things64" else base64_plan
    return plan(config["d_model"] if "d_model" in config else config["hidden_size"])


def export_saved(stage: str, options: TrainOptions) -> Path:
    """Export what a run has saved in its state directory, finished or not; the run may still be going on."""
    plan = plan_of(stage, options)
    model, average = build_unet(plan.unet), build_unet(plan.unet)
    state = load_state(options.state_dir, model, average, None)
    return export(plan, average, state, options, len(PictureCache(options.cache_dir, plan.pictures)))


def train_stage(stage: str, options: TrainOptions, *, plan: StagePlan | None = None) -> TrainResult:
    """Train one of base64, sr256, sr1024 by its plan (the shipped one when None) and export it when it is done.

    Stopped by a signal, it is saved but not exported: `imagen train export` does that.
    """
    plan = plan or plan_of(stage, options)
    task: BaseTask | SuperResolutionTask
    if stage in ("base64", "things64"):
        from imagen_core.text.t5 import T5TextEncoder

        encoder = T5TextEncoder.from_folder(options.models_dir / "text_encoder", device=options.device)
        task = BaseTask(plan, options, encoder)
    else:
        task = SuperResolutionTask(plan, options)
    network, start = start_network(plan, options)
    result = train(network, task, options, optim=plan.optim, config=plan.loop, start=start)
    if options.export and not result.interrupted and rank() == 0:
        export(plan, result.model, result.state, options, len(task.cache))
    return result
