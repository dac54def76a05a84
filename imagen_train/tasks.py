"""What is learned? The loss of one batch and a look at the network: from text to a picture, and from a small one to a large.

Shapes: b images, l text tokens, d text width, h w pixels, n pictures of a cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from imagen_core import StageSpec
from imagen_core.conditioning import Signals, TextEmbeds
from imagen_core.draw import Draw
from imagen_core.guidance.classifier_free import ClassifierFreeGuidance
from imagen_core.importance import ImportanceTimes
from imagen_core.losses import aug_weight, diffusion_loss, draw_times, estimate, image_losses
from imagen_core.sampling import sample_base, super_resolve
from imagen_core.schedules import schedule_to_config
from imagen_core.stage import Prompt, Stage
from imagen_core.super_resolution import augment, resize

from .caption_files import CaptionEmbeds, encoder_name
from .classifier import load_classifier
from .data import Crops, PictureCache
from .loop import Preview
from .metrics import bicubic, psnr
from .options import TrainOptions
from .parallel import of_first
from .plans import StagePlan
from .reading import Answers, Reading
from .sheets import grid
from .stickers.colors import COLORS
from .stickers.names import things
from .teaching import Teaching

if TYPE_CHECKING:
    from imagen_core.text.t5 import T5TextEncoder

REFRESH_STEPS = 500  # how often the cache is asked for pictures rendered meanwhile


def stage_spec(plan: StagePlan, training: dict | None = None) -> StageSpec:
    """A plan as its checkpoint describes it."""
    return StageSpec(
        stage=plan.stage,
        unet_config=plan.unet,
        schedule_config=schedule_to_config(plan.schedule),
        prediction_type=plan.prediction_type,
        learned_variance=plan.unet.out_channels == 2 * plan.unet.in_channels,
        defaults=plan.defaults,
        training=training or {},
    )


class _StageTask:
    """What both tasks share: plan, pictures, and the half-trained network seen as a Stage."""

    def __init__(self, plan: StagePlan, options: TrainOptions):
        self.plan, self.device = plan, torch.device(options.device)
        self.batch_size = options.batch_size or plan.batch_size
        self.cache = PictureCache(options.cache_dir, plan.pictures)
        self.held_out = PictureCache(options.cache_dir, plan.held_out) if plan.held_out else None
        self.importance = ImportanceTimes() if plan.importance else None
        self.helper: nn.Module | None = self.importance  # its memory is saved with the run
        self.rarity: Tensor | None = None  # (b,) weights of the last batch's times, where importance drew them
        self.calls = 0
        self.indices: list[int] = []  # of the last batch's pictures

    def _time_and_noise(self, shape: torch.Size, generator: torch.Generator, progress: float) -> tuple[Tensor, Tensor]:
        if self.importance is not None:
            times, self.rarity = self.importance.draw(shape[0], generator)
        else:
            power = self.plan.time_power if progress < self.plan.uniform_from else 1.0
            times = draw_times(shape[0], generator, power=power)
        times = self.plan.schedule.trained(times)
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
        settings = {
            "schedule": self.plan.schedule,
            "prediction_type": self.plan.prediction_type,
            "times": times,
            "noise": noise,
            "max_weight": self.plan.max_weight,
            "weighting": self.plan.weighting,
            "image_weight": image_weight,
        }

        def call(x_t: Tensor, time: Tensor) -> Tensor:
            return network(x_t, time, cond)

        if self.importance is None and self.plan.hybrid == 0.0:
            return diffusion_loss(call, x_0, **settings)
        losses = image_losses(call, x_0, **settings, hybrid=self.plan.hybrid)
        if self.importance is None:
            return losses.mean()
        self.importance.update(times, losses)
        return (losses * self.rarity.to(losses)).mean()

    def last_batch(self) -> str:
        """The last batch's pictures by number and caption."""
        return ", ".join(f"{i} ({self.cache.captions[i]:.60})" for i in self.indices)

    def _mirrored(self, x_0: Tensor, generator: torch.Generator) -> Tensor:
        """x_0 (b 3 h w), half of it mirrored where the plan says so."""
        if not self.plan.flip:
            return x_0
        return x_0.flip(3).where(torch.rand(x_0.shape[0], 1, 1, 1, generator=generator).to(x_0.device) < 0.5, x_0)

    @property
    def shown(self) -> PictureCache:
        """The pictures that previews are about: those held out, if any are."""
        return self.held_out or self.cache

    def stage(self, model: nn.Module) -> Stage:
        return Stage(unet=model, schedule=self.plan.schedule, spec=stage_spec(self.plan))


class BaseTask(_StageTask):
    """Text -> 64 px."""

    def __init__(self, plan: StagePlan, options: TrainOptions, encoder: T5TextEncoder):
        super().__init__(plan, options)
        with torch.autocast(self.device.type, enabled=False):
            self.texts = CaptionEmbeds(self.cache, encoder, encoder_name(options.encoder))
        self._take_in()
        self.teaching: Teaching | None = None
        self.reading: Reading | None = None
        if plan.read_weight:
            if options.teacher is not None:
                raise ValueError("read_weight and a teacher each bring weights of their own: set one of the two")
            self.helper = self.reading = Reading(plan.unet.text_embed_dim, things=len(things()), colors=len(COLORS))
        if options.teacher is not None:
            self.helper = self.teaching = Teaching(
                load_classifier(options.teacher), plan.teach_width or plan.unet.width
            )

    def _take_in(self) -> None:
        """Encode the captions of pictures that are new, and weigh pictures by their layouts."""
        with torch.autocast(self.device.type, enabled=False):  # the encoder is float32, wherever this is called
            self.texts.refresh()
        self.rates = self.weights = None
        if self.plan.layout_rates or self.plan.layout_weights:
            self.rates = self._by_layout(self.plan.layout_rates)
            self.weights = self._by_layout(self.plan.layout_weights)

    def _by_layout(self, factors: Mapping[str, float]) -> Tensor:
        """(n,) each picture's factor, 1 for a layout that none is named for. ValueError for pictures without layouts."""
        names = self.cache.kind.layouts
        if unknown := set(factors) - set(names):
            raise ValueError(
                f"the plan names layouts {sorted(unknown)}, and pictures of {self.cache.kind.name} have"
                f" {', '.join(names) or 'none'}: leave them out of layout_rates and layout_weights"
            )
        return torch.tensor([factors.get(name, 1.0) for name in names])[torch.tensor(self.cache.labels["layout"])]

    def loss(self, model: nn.Module, generator: torch.Generator, progress: float) -> Tensor:
        """Loss of one batch of captioned pictures."""
        self.calls += 1
        if self.calls % REFRESH_STEPS == 0:
            self.cache.refresh()
            self._take_in()
        chosen = self._chosen(generator)
        self.indices = chosen.tolist()
        indices, weight = self.indices, None if self.weights is None else self.weights[chosen].to(self.device)
        dropped = torch.rand(self.batch_size, generator=generator) < self.plan.null_fraction
        x_0 = self._mirrored(self.cache.pictures(indices).to(self.device), generator)
        times, noise = self._time_and_noise(x_0.shape, generator, progress)
        cond, misread = self._told(model, indices, dropped, progress)
        cond = self._shown_besides(model, x_0, cond, times, noise, generator)
        if self.plan.route:
            model.routed = self.plan.route if progress < self.plan.route_until else 0.0
        if self.teaching is None or progress >= self.plan.teach_until:
            return self._loss(model, x_0, cond, times, noise, weight) + misread
        with self.teaching.listening(model.get_submodule(self.plan.teach_at)):
            loss = self._loss(model, x_0, cond, times, noise, weight)
        return loss + self.plan.teach_weight * self.teaching.distance(x_0)

    def _told(
        self, model: nn.Module, indices: list[int], dropped: Tensor, progress: float
    ) -> tuple[Signals, Tensor | float]:
        """What the captions tell the network, and how badly its own reader understood them, where the plan asks that."""
        text = _to(self.texts.of(indices, dropped), self.device)
        if self.reading is None or progress >= self.plan.read_until:
            return model.encode_text(text), 0.0
        with self.reading.listening(model.text_reader):
            cond = model.encode_text(text)
        answers = Answers.of(self.cache.labels, indices, len(COLORS), dropped).to(self.device)
        return cond, self.plan.read_weight * self.reading.loss(answers)

    def _shown_besides(
        self, model: nn.Module, x_0: Tensor, cond: Signals, times: Tensor, noise: Tensor, generator: torch.Generator
    ) -> Signals:
        """`cond` with what the stem sees of the batch besides x_t.

        For a network that is told of its own estimate, in half of the batches what a first pass makes of x_t.
        """
        if "estimate" not in self.plan.unet.inputs:
            return cond
        (drawn,) = of_first(torch.rand((), generator=generator).item())  # processes that share weights call them alike
        if drawn < 0.5:
            return cond
        found = estimate(
            lambda x_t, time: model(x_t, time, cond),
            x_0,
            schedule=self.plan.schedule,
            prediction_type=self.plan.prediction_type,
            times=times,
            noise=noise,
        )
        return cond + Signals(pixels=found)

    def _chosen(self, generator: torch.Generator) -> Tensor:
        """Which pictures make a batch (b,)."""
        if self.rates is None:
            return self.cache.drawn(self.batch_size, generator)
        return torch.multinomial(self.rates, self.batch_size, replacement=True, generator=generator)

    def preview(self, model: nn.Module) -> Preview:
        """Twenty-four captions drawn from fixed seeds, and the x_0 error of held-out pictures at three times."""
        captions = list(self.plan.prompts) or self.shown.captions[:24]
        height, width = self.cache.usual_shape
        drawn = sample_base(
            self.stage(model),
            Prompt(text=_to(self.texts.encoder.encode(captions), self.device)),
            Draw(
                seeds=range(len(captions)),
                steps=20,
                guidance=ClassifierFreeGuidance(scale=self.plan.defaults["guidance_scale"]),
            ),
            height=height,
            width=width,
        )
        return Preview(picture=grid(drawn, columns=6, scale=2), figures={**self._errors(model), **self._read(model)})

    def _read(self, model: nn.Module, count: int = 256) -> dict[str, float]:
        """Share of what held-out captions say lies on a side that is read right; nothing where that is not learned."""
        if self.reading is None or self.held_out is None:
            return {}
        rows = self.held_out.alike(count)
        text = _to(self.texts.encoder.encode([self.held_out.captions[i] for i in rows]), self.device)
        with self.reading.listening(model.text_reader):
            model.encode_text(text)
        return {"read": self.reading.right(Answers.of(self.held_out.labels, rows, len(COLORS)).to(self.device))}

    def _shown_of(self, x_0: Tensor) -> Signals:
        """What the stem sees besides of the held-out pictures whose errors are taken."""
        return Signals()

    def _errors(self, model: nn.Module, count: int = 64) -> dict[str, float]:
        """Mean squared x_0 error on held-out pictures at t = .9, .6, .3, same noise every time; nothing without them."""
        if self.held_out is None:
            return {}
        rows = self.held_out.alike(count)
        generator = torch.Generator().manual_seed(0)
        x_0 = self.held_out.pictures(rows).to(self.device)
        noise = torch.randn(x_0.shape, generator=generator).to(self.device)
        text = _to(self.texts.encoder.encode([self.held_out.captions[i] for i in rows]), self.device)
        cond = model.encode_text(text) + self._shown_of(x_0)
        plan, errors = self.plan, {}
        for t in (0.9, 0.6, 0.3):
            times = torch.full((len(rows),), t, device=self.device)
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

    def _crops(self, generator: torch.Generator) -> Crops:
        """A batch, the plan's own set first."""
        counts = {cache: round(self.batch_size * share) for cache, share in self.others.items()}
        parts = {self.cache: self.batch_size - sum(counts.values()), **counts}
        crops = [
            cache.crops(count, self.plan.crop, generator, turn=self.plan.turn)
            for cache, count in parts.items()
            if count
        ]
        return Crops(*(torch.cat(each) for each in zip(*crops, strict=True)))

    def loss(self, model: nn.Module, generator: torch.Generator, progress: float) -> Tensor:
        """Loss of one batch of crops, their low-res versions noised by a random aug_level."""
        self.calls += 1
        if self.calls % REFRESH_STEPS == 0:
            self.cache.refresh()
        plan, b = self.plan, self.batch_size
        x_0, small = (each.to(self.device) for each in self._crops(generator))
        times, noise = self._time_and_noise(x_0.shape, generator, progress)
        level = torch.rand(b, generator=generator) ** 1.5 * plan.max_aug_level  # sampling uses the low ones
        level = level.where(torch.rand(b, generator=generator) >= plan.clean_fraction, 0.0).to(self.device)
        low_res = resize(small, tuple(x_0.shape[-2:]))
        low_res = augment(low_res, level, plan.schedule, torch.randn(x_0.shape, generator=generator).to(self.device))
        weight = aug_weight(plan.schedule.alpha_sigma(level)[1])
        return self._loss(model, x_0, Signals(pixels=low_res, aug_level=level), times, noise, weight)

    def preview(self, model: nn.Module) -> Preview:
        """Rows: grown low-res, enlarged by the network at aug_level 0, truth. Figures: PSNR against bicubic, in dB."""
        rows = self.shown.alike(6)
        truth = self.shown.pictures(rows).to(self.device)
        small = shrink(truth)
        drawn = super_resolve(self.stage(model), small, None, Draw(seeds=range(len(rows)), steps=8)).to(self.device)
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
